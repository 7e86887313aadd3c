"""Resolutions: from the libraries of a contract to a lock (`common.lockfile`).

A lock is kept for a while under the request that it answers, so that the same request is not resolved
again at once, and newer versions are seen soon.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from common import lockfile
from common.errors import ProvisionError
from common.lockfile import Pin
from common.settings import Settings
from common.states import Reason
from workers import frameworks
from workers.builders import STORE, Builder, Builders
from workers.frameworks import Accelerator
from workers.images import BaseImage
from workers.torch_builds import Supply, TorchBuilds
from workers.volumes import USER

# uv lists in this format the wheels that this interpreter can use, and no others: a lock stays short
FLAGS = ("--format", "pylock.toml", "--generate-hashes", "--only-binary", ":all:", "--no-header")
EXPLANATION_CHARACTERS = 2000
RESOLVE_SECONDS = 900.0  # uv takes seconds; some wishes contradict each other in very many ways, and an index may hang
_NAME = "this-contract"  # part of explanations, and of no library's name
NO_SOLUTION = "error: No solution found when resolving dependencies"

_UNRESOLVABLE = ("No solution found", "was not found in the package registry", "not found in the provided package")


class Resolutions:
    """Locks of this machine."""

    def __init__(self, settings: Settings, builders: Builders, builds: TorchBuilds, uv_version: str):
        self.builders = builders
        self.builds = builds
        self.uv_version = uv_version
        self.ttl_seconds = settings.lock_ttl_seconds
        self.directory = settings.data_dir / "resolutions"

    def known(self, base: BaseImage, libraries: tuple[str, ...], wanted: Accelerator) -> str | None:
        """The lock of the same request not long ago."""
        path = self._path(base, libraries, wanted)
        try:
            if time.time() - path.stat().st_mtime < self.ttl_seconds:
                return path.read_text()
        except FileNotFoundError:
            pass
        return None

    def resolve(
        self,
        builder: Builder,
        base: BaseImage,
        libraries: tuple[str, ...],
        wanted: Accelerator,
        tick: Callable[[], None],
        log: Callable[[str], None],
        places: Sequence[str] = (),
    ) -> str:
        """The lock of `libraries` and pip, in the builds that are wanted. Raises ProvisionError with an explanation.

        `places` are directories of wheels beside those of the machine.
        """
        until = time.monotonic() + RESOLVE_SECONDS
        ask = _Ask(self, builder, base, tuple(f"--find-links={place}" for place in places), _ending(tick, until), log)
        lock = lockfile.write(_chosen(ask, self.builds, libraries, wanted))
        self._keep(self._path(base, libraries, wanted), lock)
        return lock

    def _path(self, base: BaseImage, libraries: tuple[str, ...], wanted: Accelerator) -> Path:
        parts = (base.key, base.python, self.uv_version, *FLAGS, self.builders.sources.index, *sorted(libraries))
        parts += (repr(wanted), self.builds.address)
        return self.directory / f"{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:32]}.txt"

    def _keep(self, path: Path, lock: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for old in self.directory.iterdir():
            if time.time() - old.stat().st_mtime > self.ttl_seconds:
                old.unlink(missing_ok=True)
        new = path.with_suffix(f".{secrets.token_hex(4)}")
        new.write_text(lock)
        new.rename(path)


@dataclass(frozen=True)
class _Ask:
    """Asking the resolver, in one builder."""

    resolutions: Resolutions
    builder: Builder
    base: BaseImage
    options: tuple[str, ...]
    tick: Callable[[], None]
    log: Callable[[str], None]

    def __call__(self, lines: Sequence[str], overrides: Sequence[str], supply: Supply) -> list[Pin]:
        """What `lines` come to. Raises ProvisionError with uv's explanation."""
        name, work = secrets.token_hex(8), self.resolutions.builders.store / "work"
        files = {
            work / name / "pyproject.toml": project(lines, supply),
            work / name / "overrides.txt": "".join(f"{line}\n" for line in overrides),
            work / name / "constraints.txt": "".join(f"{line}\n" for line in supply.excluded),
        }
        inside = f"{STORE}/work/{name}"
        command = ["uv", "pip", "compile", *FLAGS, *self.options, "--quiet", "--python", self.base.interpreter]
        command += ["--overrides", f"{inside}/overrides.txt", "--constraints", f"{inside}/constraints.txt"]
        command += ["--output-file", f"{inside}/pylock.toml", f"{inside}/pyproject.toml"]
        said: list[str] = []

        def line(text: str) -> None:
            said.append(text)
            self.log(text)

        (work / name).mkdir()
        os.chown(work / name, USER, USER)
        try:
            for path, text in files.items():
                path.write_text(text)
            if self.builder.run(command, line, self.tick) != 0:
                raise unresolved("\n".join(said))
            return pins(tomllib.loads(_read(work / name / "pylock.toml")))
        finally:
            shutil.rmtree(work / name, ignore_errors=True)


def _ending(tick: Callable[[], None], until: float) -> Callable[[], None]:
    """A tick that ends what goes on for too long: it holds a thread that others wait for."""

    def ending() -> None:
        tick()
        if time.monotonic() > until:
            minutes = f"{RESOLVE_SECONDS / 60:.3g}"
            raise ProvisionError(
                Reason.LIBRARIES_UNRESOLVABLE,
                f"The libraries were not resolved within {minutes} minutes. Ask for fewer of them, or name versions.",
            )

    return ending


def _chosen(ask: _Ask, builds: TorchBuilds, libraries: tuple[str, ...], wanted: Accelerator) -> list[Pin]:
    """The pins of the best way to choose builds that comes to something. Raises ProvisionError where none does."""
    direct = [Requirement(text).name for text in libraries]
    failures: list[ProvisionError] = []
    asked: list[object] = []
    ways = [(a, builds.supply(libraries, a.build, ask.base.python_minor)) for a in frameworks.attempts(wanted, direct)]
    for attempt, supply in sorted(ways, key=lambda way: not way[1].indexes):  # builds that nobody chose come last
        question = (*frameworks.requirements(libraries, attempt), supply)
        if question in asked:
            continue
        asked.append(question)
        try:
            found = ask(*question)
        except ProvisionError as error:
            failures.append(error)
            continue
        brought = frameworks.implied(found, direct, attempt, builds.has(attempt.build, ask.base.python_minor))
        if not brought:
            return found
        try:
            return _chosen(ask, builds, (*libraries, *brought), wanted)
        except ProvisionError:
            return found  # what came may do as well; `frameworks.check` says so or refuses it
    telling = [error for error in failures if "was not found in the package registry" not in str(error)]
    failure = (telling or failures)[0]
    raise ProvisionError(
        failure.reason, (frameworks.together(libraries) if wanted.cudas else "") + str(failure), failure.detail
    )


def project(lines: Sequence[str], supply: Supply) -> str:
    """A project file that asks for `lines` and says where builds come from, which uv reads from no other file."""
    wanted = ", ".join(json.dumps(line) for line in sorted({*lines, "pip"}))  # without pip nobody could add one
    text = f'[project]\nname = "{_NAME}"\nversion = "0"\ndependencies = [{wanted}]\n'
    for library, address in supply.indexes:
        text += f'[tool.uv.sources.{library}]\nindex = "{library}-builds"\n'
        text += f'[[tool.uv.index]]\nname = "{library}-builds"\nurl = {json.dumps(address)}\nexplicit = true\n'
    return text


def pins(document: dict[str, Any]) -> list[Pin]:
    """What uv resolved, a document as PEP 751 has it."""
    return [
        Pin(package["name"], package["version"], tuple(wheel["hashes"]["sha256"] for wheel in package["wheels"]))
        for package in document["packages"]
    ]


def unresolved(text: str) -> ProvisionError:
    """What uv said about libraries that it could not resolve, as an error for the user."""
    if unresolvable(text):
        return ProvisionError(Reason.LIBRARIES_UNRESOLVABLE, explanation(text), text)
    return ProvisionError(
        Reason.LIBRARIES_NOT_INSTALLED,
        f"The package index could not be used. {explanation(text)}"[:EXPLANATION_CHARACTERS],
        text,
    )


def unresolvable(text: str) -> bool:
    """Whether uv says that what was asked for does not exist, or not together."""
    return any(sign in text for sign in _UNRESOLVABLE)


def explanation(text: str) -> str:
    """uv's words in one line: causes and hints, without the headline where it has causes."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(line.startswith("cause: ") for line in lines):
        lines = [line for line in lines if line != NO_SOLUTION]
    words = " ".join(re.sub(r"^(error|cause): ", "", line) for line in lines)
    words = re.sub(r"\bhint: ", "Hint: ", words)
    return words if len(words) <= EXPLANATION_CHARACTERS else words[: EXPLANATION_CHARACTERS - 1] + "…"


def _read(path: Path) -> str:
    """A file that the builder wrote; the builder is not trusted with links."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor) as file:
        return file.read()
