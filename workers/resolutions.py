"""Resolutions: from the libraries of a contract to a lock (`common.lockfile`).

A lock is kept for a while under the request that it answers, so that the same request is not resolved
again at once, and newer versions are seen soon.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import lockfile
from common.errors import ProvisionError
from common.lockfile import Pin
from common.settings import Settings
from common.states import Reason
from workers.builders import STORE, Builder, Builders
from workers.images import BaseImage

# uv lists in this format the wheels that this interpreter can use, and no others: a lock stays short
FLAGS = ("--format", "pylock.toml", "--generate-hashes", "--only-binary", ":all:", "--no-header")
EXPLANATION_CHARACTERS = 2000
NO_SOLUTION = "error: No solution found when resolving dependencies"

_UNRESOLVABLE = ("No solution found", "was not found in the package registry", "not found in the provided package")


class Resolutions:
    """Locks of this machine."""

    def __init__(self, settings: Settings, builders: Builders, uv_version: str):
        self.builders = builders
        self.uv_version = uv_version
        self.ttl_seconds = settings.lock_ttl_seconds
        self.directory = settings.data_dir / "resolutions"

    def known(self, base: BaseImage, libraries: tuple[str, ...]) -> str | None:
        """The lock of the same request not long ago."""
        path = self._path(base, libraries)
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
        tick: Callable[[], None],
        log: Callable[[str], None],
    ) -> str:
        """The lock of `libraries` and pip. Raises ProvisionError with uv's explanation."""
        name = secrets.token_hex(8)
        source, target = (self.builders.store / "work" / file for file in (f"{name}.in", f"pylock.{name}.toml"))
        source.write_text("".join(f"{line}\n" for line in wanted(libraries)))
        files = ("--output-file", f"{STORE}/work/{target.name}", f"{STORE}/work/{source.name}")
        said: list[str] = []

        def line(text: str) -> None:
            said.append(text)
            log(text)

        try:
            code = builder.run(
                ["uv", "pip", "compile", *FLAGS, "--quiet", "--python", base.interpreter, *files],
                line,
                tick,
            )
            if code != 0:
                raise unresolved("\n".join(said))
            lock = lockfile.write(pins(tomllib.loads(_read(target))))
        finally:
            source.unlink(missing_ok=True)
            target.unlink(missing_ok=True)
        self._keep(self._path(base, libraries), lock)
        return lock

    def _path(self, base: BaseImage, libraries: tuple[str, ...]) -> Path:
        parts = (base.key, base.python, self.uv_version, *FLAGS, self.builders.sources.index, *wanted(libraries))
        return self.directory / f"{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:32]}.txt"

    def _keep(self, path: Path, lock: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for old in self.directory.iterdir():
            if time.time() - old.stat().st_mtime > self.ttl_seconds:
                old.unlink(missing_ok=True)
        new = path.with_suffix(f".{secrets.token_hex(4)}")
        new.write_text(lock)
        new.rename(path)


def wanted(libraries: tuple[str, ...]) -> list[str]:
    """What is asked of the resolver: the libraries, and pip, without which nobody could add one."""
    return sorted({*libraries, "pip"})


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
