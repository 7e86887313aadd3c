"""Layers: trees of installed libraries, named by what decides their content and shared by everyone.

    data_dir/store/layers/<key>/   the tree, a virtual environment; containers see it at /opt/dcloud/layers/<key>
    data_dir/layers/<key>.json     its seal; a tree without one was never finished and is made again

Wheels are unpacked once into uv's cache and their Python files compiled there, so that a layer of known
wheels is nothing but hard links.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.errors import ProvisionError
from common.settings import Settings
from common.states import Reason
from workers.builders import STORE, Builder, Builders
from workers.filelocks import held
from workers.images import BaseImage
from workers.resolutions import explanation, packages

FLAGS = ("--require-hashes", "--only-binary", ":all:", "--link-mode", "hardlink")

# The source decides whether a compiled file is good: edits of installed files count, and the compiled
# files of one wheel are the same bytes everywhere, which times would make different.
COMPILE = ("-I", "-S", "-m", "compileall", "-j", "0", "--invalidation-mode", "checked-hash")

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Layer:
    """A sealed layer."""

    key: str
    tree: Path  # on the host
    lock: str

    @property
    def path(self) -> str:
        """Where containers see it."""
        return f"{STORE}/layers/{self.key}"


class Layers:
    """The layers of this machine. Several processes may ask for the same at once; one installs it."""

    def __init__(self, settings: Settings, builders: Builders, uv_version: str):
        self.builders = builders
        self.uv_version = uv_version
        self.locks = settings.data_dir / "locks"
        self.seals = settings.data_dir / "layers"
        self.compiled = settings.data_dir / "compiled"

    def key(self, base: BaseImage, lock: str, accelerator: str = "cpu") -> str:
        """The same for the same content."""
        parts = (base.key, base.python, base.interpreter, lock, accelerator, self.uv_version, *FLAGS, *COMPILE)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def find(self, base: BaseImage, lock: str) -> Layer | None:
        """The layer, if it is here and sealed."""
        key = self.key(base, lock)
        tree = self.builders.store / "layers" / key
        if (self.seals / f"{key}.json").exists() and tree.is_dir():
            return Layer(key, tree, lock)
        return None

    def install(
        self, builder: Builder, base: BaseImage, lock: str, progress: Progress, log: Callable[[str], None]
    ) -> Layer:
        """The layer, installed and sealed if it was not. Raises ProvisionError."""
        key = self.key(base, lock)
        waiting = "Waiting for the same libraries, which are being installed for another environment"
        with held(self.locks / f"layer-{key}", lambda: progress(0, waiting)):
            found = self.find(base, lock)
            if found is None:
                self._install(builder, base, lock, key, progress, log)
                found = self.find(base, lock)
        if found is None:
            raise ProvisionError(Reason.LIBRARIES_NOT_INSTALLED, "The libraries vanished from the host. Try again.")
        return found

    def _install(
        self, builder: Builder, base: BaseImage, lock: str, key: str, progress: Progress, log: Callable[[str], None]
    ) -> None:
        tree = self.builders.store / "layers" / key
        lock_file = self.builders.store / "work" / f"{key}.txt"
        try:
            lock_file.write_text(lock)
            self._link(builder, base, tree, lock, (0.0, 0.6), progress, log)
            if self._compile(builder, base, (0.6, 0.95), progress):
                self._link(builder, base, tree, lock, (0.95, 1.0), progress, lambda line: None)
                # hard links are ordered by the journal, but what was unpacked just now is not
                subprocess.run(["sync", "-f", str(self.builders.store)], check=True, timeout=600)
            self._seal(key, lock)
        except BaseException:
            shutil.rmtree(tree, ignore_errors=True)
            raise
        finally:
            lock_file.unlink(missing_ok=True)

    def _link(
        self,
        builder: Builder,
        base: BaseImage,
        tree: Path,
        lock: str,
        share: tuple[float, float],
        progress: Progress,
        log: Callable[[str], None],
    ) -> None:
        """Make the tree: an empty virtual environment and everything in the lock."""
        if tree.exists():
            shutil.rmtree(tree)
        path = f"{STORE}/layers/{tree.name}"
        archives = self.builders.cache(base) / "archive-v0"
        names, before = packages(lock), len(_names(archives))
        said: list[str] = []
        unpacked = False

        def tick() -> None:
            done = len(names) if unpacked else min(len(_names(archives)) - before, len(names))
            progress(
                share[0] + (share[1] - share[0]) * done / len(names), f"Installing libraries: {done} of {len(names)}"
            )

        def line(text: str) -> None:
            nonlocal unpacked
            said.append(text)
            log(text)
            unpacked = unpacked or text.startswith(("Prepared ", "Installed "))

        quiet = ["uv", "venv", "--quiet", "--no-project", "--prompt", "dcloud", "--python", base.interpreter, path]
        code = builder.run(quiet, line, tick)
        if code == 0:
            install = ["uv", "pip", "install", *FLAGS, "--python", f"{path}/bin/python"]
            code = builder.run([*install, "-r", f"{STORE}/work/{tree.name}.txt"], line, tick)
        if code != 0:
            text = "\n".join(said)
            raise ProvisionError(
                Reason.LIBRARIES_NOT_INSTALLED, f"Installing the libraries failed. {explanation(text)}", text
            )

    def _compile(self, builder: Builder, base: BaseImage, share: tuple[float, float], progress: Progress) -> bool:
        """Compile what was unpacked since the last time, in the cache; whether there was any."""
        archives = self.builders.cache(base) / "archive-v0"
        marks = self.compiled / self.builders.cache(base).name
        marks.mkdir(parents=True, exist_ok=True)
        fresh = sorted(_names(archives) - _names(marks))
        if not fresh:
            return False
        total = sum(
            name.endswith(".py") for archive in fresh for *_, files in os.walk(archives / archive) for name in files
        )
        done = 0

        def line(text: str) -> None:
            nonlocal done
            if text.startswith("Compiling "):
                done += 1
                if done % 50 == 0:
                    fraction = min(1.0, done / max(1, total))
                    progress(
                        share[0] + (share[1] - share[0]) * fraction, f"Compiling libraries: {done} of {total} files"
                    )

        inside = f"{STORE}/cache/{archives.parent.name}/{archives.name}"
        # some libraries carry files in a syntax that this Python does not read; they are none of its business
        builder.run([base.interpreter, *COMPILE, *(f"{inside}/{name}" for name in fresh)], line, lambda: None)
        for name in fresh:
            (marks / name).touch()
        return True

    def _seal(self, key: str, lock: str) -> None:
        self.seals.mkdir(parents=True, exist_ok=True)
        new = self.seals / f"{key}.new"
        new.write_text(json.dumps({"lock": lock, "created": time.time()}))
        new.rename(self.seals / f"{key}.json")


def _names(directory: Path) -> set[str]:
    try:
        return set(os.listdir(directory))  # noqa: PTH208 - names are all that is needed, a thousand times
    except FileNotFoundError:
        return set()
