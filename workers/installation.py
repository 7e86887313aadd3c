"""An installation: one layer's tree, made of the wheels of a lock.

Wheels are unpacked once into uv's cache and their Python files compiled there, so that a layer of known
wheels is nothing but hard links.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from common import lockfile
from common.errors import ProvisionError
from common.states import Reason
from workers import bytecode
from workers.builders import STORE, Builder
from workers.downloads import Download
from workers.filelocks import held
from workers.images import BaseImage
from workers.resolutions import explanation, unresolvable
from workers.seals import sync

FLAGS = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--link-mode", "hardlink")

# Before and after the interpreter. Before Python 3.11 sets are written in the order of their hashes, which -I would
# leave to chance; without it there must be no variable of Python, and a directory that holds nothing to import.
COMPILE = (("env", "-C", "/", "PYTHONHASHSEED=0"), ("-S", "-s", "-c", Path(bytecode.__file__).read_text()))

# Arguments: interpreter, tree, lock file, and options of the installer.
INSTALL = """
interpreter=$1 tree=$2 lock=$3
shift 3
uv venv --quiet --clear --no-project --prompt dcloud --python "$interpreter" "$tree"
exec uv pip install "$@" --python "$tree/bin/python" -r "$lock"
"""

FETCHED, COMPILED = 0.6, 0.95  # shares of the whole at which wheels that are not here yet are fetched and compiled

_HASH_MISMATCH = re.compile(r"Hash mismatch for `([a-z0-9-]+)==")

Log = Callable[[str], None]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Installation:
    """What to install, where, with what, and whom to tell. Nobody else works on the same tree."""

    builder: Builder
    base: BaseImage
    store: Path
    cache: Path  # uv's, for this interpreter
    marks: Path  # a file for each unpacked wheel that is compiled
    locks: Path
    key: str
    lock: str
    options: tuple[str, ...]  # for the installer: where wheels are, beside the places of the machine
    progress: Progress
    log: Log

    def make(self) -> bool:
        """Make the tree; what is half made is removed. Whether all of it is on the disk, where a power cut leaves it.

        Raises ProvisionError, and what `progress` raises.
        """
        lock_file = self.store / "work" / f"{self.key}.txt"
        compiled = _names(self.marks)  # another installation may compile what this one has linked by then
        try:
            lock_file.write_text(self.lock)
            self._link_or_fetch()
            fresh = bool(self._uncompiled(compiled))
            if fresh:
                self._compile()
                self._link()
                sync(self.store)  # wheels that were unpacked just now
            return fresh
        except BaseException:
            shutil.rmtree(self.tree, ignore_errors=True)
            raise
        finally:
            lock_file.unlink(missing_ok=True)

    @property
    def tree(self) -> Path:
        """The tree on the host."""
        return self.store / "layers" / self.key

    def _link_or_fetch(self) -> None:
        """Link wheels that are all in the cache, which need not ask the index; else fetch those that are not."""
        names = lockfile.read(self.lock)
        linked: list[str] = []
        if self._install("--offline", linked.append, lambda: self.progress(0, f"Linking {len(names)} libraries")) == 0:
            for text in linked:
                self.log(text)
            return
        before, said = len(self._archives()), list[str]()
        download = Download(len(names), self.builder.received_bytes)

        def tick() -> None:
            message = download.look(len(self._archives()) - before)
            self.progress(FETCHED * download.fraction, message)

        def line(text: str) -> None:
            said.append(text)
            self.log(text)
            download.read(text)

        failed = self._install("--no-offline", line, tick) != 0
        if failed and self._forget(_HASH_MISMATCH.findall("\n".join(said))):
            said.clear()
            failed = self._install("--no-offline", line, tick) != 0
        if failed:
            raise _failed("\n".join(said))

    def _forget(self, libraries: list[str]) -> bool:
        """Let uv look at these wheels anew, which somebody may have replaced under their own names."""
        kept = [path for name in set(libraries) for path in self.cache.glob(f"wheels-v*/**/{glob.escape(name)}")]
        for path in kept:
            shutil.rmtree(path, ignore_errors=True)  # what it points to, and is linked elsewhere, stays
        return bool(kept)

    def _link(self) -> None:
        """Link all again, with what was compiled."""
        said: list[str] = []
        if self._install("--offline", said.append, lambda: self.progress(COMPILED, "Linking the libraries")) != 0:
            raise _failed("\n".join(said))

    def _install(self, where: str, line: Log, tick: Callable[[], None]) -> int:
        if self.tree.exists():
            shutil.rmtree(self.tree)
        arguments = (self.base.interpreter, f"{STORE}/layers/{self.key}", f"{STORE}/work/{self.key}.txt")
        options = [where, *FLAGS, *self.options]
        if self.options:  # hashes decide what is taken, whichever index has it
            options += ["--index-strategy", "unsafe-best-match"]
        return self.builder.run(["sh", "-euc", INSTALL, "install", *arguments, *options], line, tick)

    def _compile(self) -> None:
        """Compile in the cache what of this lock is not compiled yet. One installation at a time does that."""
        self.marks.mkdir(parents=True, exist_ok=True)
        waiting = "Waiting for the same libraries, which are being compiled for another environment"
        with held(self.locks / f"compile-{self.marks.name}", lambda: self.progress(FETCHED, waiting)):
            if fresh := sorted(self._uncompiled(_names(self.marks))):
                self._compile_now(fresh)
                for name in fresh:
                    (self.marks / name).touch()

    def _compile_now(self, fresh: list[str]) -> None:
        archives = self.cache / "archive-v0"
        total = sum(name.endswith(".py") for one in fresh for *_, files in os.walk(archives / one) for name in files)
        done = 0

        def tick() -> None:
            fraction = min(1.0, done / max(1, total))
            self.progress(FETCHED + (COMPILED - FETCHED) * fraction, f"Compiling libraries: {done} of {total} files")

        def line(text: str) -> None:
            nonlocal done
            if text.startswith("Compiling "):
                done += 1
                if done % 50 == 0:
                    tick()

        inside = f"{STORE}/cache/{self.cache.name}/{archives.name}"
        before, after = COMPILE
        command = [*before, self.base.interpreter, *after, *(f"{inside}/{name}" for name in fresh)]
        if self.builder.run(command, line, tick) != 0:
            raise ProvisionError(Reason.LIBRARIES_NOT_INSTALLED, "The libraries could not be compiled. Try again.")

    def _uncompiled(self, compiled: set[str]) -> set[str]:
        """Unpacked wheels of this lock's libraries that are not among those."""
        wanted = {pin.name for pin in lockfile.read(self.lock)}
        return {name for name in self._archives() - compiled if wanted & _libraries(self.cache / "archive-v0" / name)}

    def _archives(self) -> set[str]:
        """Unpacked wheels in the cache."""
        return _names(self.cache / "archive-v0")


def _failed(said: str) -> ProvisionError:
    # a lock that a user handed in may name what no index has
    reason = Reason.LIBRARIES_UNRESOLVABLE if unresolvable(said) else Reason.LIBRARIES_NOT_INSTALLED
    return ProvisionError(reason, f"Installing the libraries failed. {explanation(said)}", said)


def _libraries(archive: Path) -> set[str]:
    """Whose wheel it is, by the directory of its metadata; there is one."""
    return {canonicalize_name(name.partition("-")[0]) for name in _names(archive) if name.endswith(".dist-info")}


def _names(directory: Path) -> set[str]:
    try:
        return set(os.listdir(directory))  # noqa: PTH208 - names are all that is needed, many times
    except FileNotFoundError:
        return set()
