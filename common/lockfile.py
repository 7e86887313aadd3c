"""A lock: every library of an environment with its version and the hashes that its wheel may have.

As text it has a line for each, sorted by name, in the form that pip and uv read:

    numpy==2.4.6 --hash=sha256:89cd468399cf…

The same libraries give the same text, so the text can be a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

MAX_CHARACTERS = 56_000  # a contract with a lock is still a document that is accepted
MAX_PINS = 500

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,98}", re.ASCII)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True)
class Pin:
    """One library of a lock. `name` is in its canonical form, `hashes` are SHA-256 in hexadecimal."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def local(self) -> str:
        """The build that the version names, "cpu" in `2.13.0+cpu`; "" where it names none."""
        return Version(self.version).local or ""


def read(text: str) -> tuple[Pin, ...]:
    """The pins of a lock. Raises ValueError with the end of a sentence that begins with `language.lock`."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"has {len(text)} characters; at most {MAX_CHARACTERS} are accepted")
    pins: dict[str, Pin] = {}
    for number, line in _lines(text):
        pin = _pin(number, line)
        if pin.name in pins:
            raise ValueError(f"names {pin.name} twice, in line {number} again")
        pins[pin.name] = pin
    if not pins:
        raise ValueError("names no library")
    if len(pins) > MAX_PINS:
        raise ValueError(f"names {len(pins)} libraries; at most {MAX_PINS} are accepted")
    return tuple(pins[name] for name in sorted(pins))


def write(pins: Iterable[Pin]) -> str:
    """The text of a lock, the same for the same pins."""
    return "".join(
        f"{pin.name}=={pin.version} {' '.join(f'--hash=sha256:{value}' for value in sorted(set(pin.hashes)))}\n"
        for pin in sorted(pins, key=lambda pin: pin.name)
    )


def _lines(text: str) -> Iterable[tuple[int, str]]:
    """Logical lines with the number of their first line: continued ones joined, comments and empty ones left out."""
    whole, began = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        began = began if whole else number
        stripped = line.strip()
        if stripped.startswith("#"):
            continue
        if stripped.endswith("\\"):
            whole += f"{stripped[:-1]} "
            continue
        whole += stripped
        if whole.strip():
            yield began, whole.strip()
        whole = ""
    if whole.strip():
        yield began, whole.strip()


def _pin(number: int, line: str) -> Pin:
    wanted, *options = line.split()
    name, equal, version = wanted.partition("==")
    if not equal or not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        raise ValueError(f"has {wanted[:60]!r} in line {number}, where a line has name==version and its hashes")
    try:
        Version(version)
    except InvalidVersion:
        raise ValueError(f"has {version[:60]!r} in line {number}, which is not a version") from None
    matches = [_HASH.fullmatch(option) for option in options]
    for option, match in zip(options, matches, strict=True):
        if match is None:
            raise ValueError(f"has {option[:60]!r} in line {number}, where only --hash=sha256:… may stand")
    if not matches:
        raise ValueError(f"has no hash for {name} in line {number}. Every library needs --hash=sha256:…")
    return Pin(canonicalize_name(name), version, tuple(sorted({match[1] for match in matches if match})))
