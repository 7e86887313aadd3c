"""A contract in the making, with what could not be put into it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from common import contract
from common.contract import MAX_LIBRARIES, MAX_PACKAGES
from common.errors import ContractError, Problem
from common.fields import MAX_TEXT
from common.requirements import requirement

MAX_LEFT_OUT = 200  # that are named one by one
DEFAULT = ("debian", "12", "3.11")

_NAME_PART = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
_PYTHON = re.compile(r"3\.[0-9]{1,2}", re.ASCII)


@dataclass(frozen=True)
class Runtime:
    """A Python that some host has, and on what."""

    os: str
    os_version: str
    python: str


@dataclass(frozen=True)
class Imported:
    """A contract as a document, and what of the file is not in it, each with its place."""

    contract: dict[str, Any]
    left_out: tuple[Problem, ...]


@dataclass
class Draft:
    """What is known so far."""

    name: str = ""
    python: str = ""  # which versions are wanted, as PEP 440 has it: ">=3.10"
    libraries: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    resources: dict[str, str] = field(default_factory=dict)
    left_out: list[Problem] = field(default_factory=list)

    def leave(self, place: str, message: str) -> None:
        """Name something that cannot be said in a contract."""
        self.left_out.append(Problem(place[:120], message[:300]))

    def library(self, text: str, place: str) -> None:
        """Add a library; name it where it is none that a contract takes."""
        if len(self.libraries) >= MAX_LIBRARIES:
            self.leave(place, f"is left out: a contract names at most {MAX_LIBRARIES} libraries.")
            return
        if len(text) > MAX_TEXT:
            self.leave(place, f"is longer than {MAX_TEXT} characters.")
            return
        try:
            self.libraries.append(requirement(text.strip()))
        except ValueError as error:
            self.leave(place, f"{text.strip()[:100]!r} {error}.")

    def package(self, name: str, place: str) -> None:
        """Add a package of the distribution."""
        if len(self.packages) >= MAX_PACKAGES:
            self.leave(place, f"is left out: a contract names at most {MAX_PACKAGES} packages.")
            return
        self.packages.append(name)

    def finished(self, runtimes: Sequence[Runtime]) -> Imported:
        """The contract, with the Python that suits best of those that there are.

        Raises ContractError where something in it is still no contract, which is a defect here.
        """
        chosen = self._runtime(runtimes)
        document: dict[str, Any] = {
            "os": {"image-name": chosen.os, "version": chosen.os_version},
            "language": {
                "image-name": "python",
                "version": chosen.python,
                "libraries": list(dict.fromkeys(self.libraries)),
            },
        }
        if name := _NAME_PART.sub("-", self.name)[:63].strip("-_."):
            document = {"env-name": name, **document}
        if packages := self._packages():
            document["os"]["packages"] = packages
        if self.resources:
            document["resources"] = self.resources
        contract.parse(document)
        more = len(self.left_out) - MAX_LEFT_OUT
        rest = [Problem("", f"{more} more things are left out.")] if more > 0 else []
        return Imported(document, (*self.left_out[:MAX_LEFT_OUT], *rest))

    def _packages(self) -> list[str]:
        kept = []
        for name in dict.fromkeys(self.packages):
            try:
                contract.parse({"os": {"packages": [name]}})
            except ContractError as error:
                self.leave("packages", str(error.problems[0].message))
            else:
                kept.append(name)
        return kept

    def _runtime(self, runtimes: Sequence[Runtime]) -> Runtime:
        default = Runtime(*DEFAULT)
        offered = list(runtimes) or [default]
        if not self.python:
            return default if default in offered else offered[-1]
        try:
            wanted = SpecifierSet(self.python[:MAX_TEXT])
        except InvalidSpecifier:
            self.leave("python", f"{self.python[:100]!r} says no Python version as PEP 440 has it.")
            return default if default in offered else offered[-1]
        # a minor version stands for its patches: ">=3.11.4" and "<3.12" both mean 3.11
        suiting = [one for one in offered if any(wanted.contains(f"{one.python}.{patch}") for patch in (0, 99))]
        if suiting:
            return default if default in suiting else max(suiting, key=lambda one: Version(one.python))
        self.leave("python", f"No host has Python {self.python[:60]}. To be had: {', '.join(_versions(offered))}.")
        asked = _PYTHON.search(self.python)
        return Runtime(default.os, default.os_version, asked[0]) if asked else default


def _versions(offered: Sequence[Runtime]) -> list[str]:
    return sorted({one.python for one in offered}, key=Version)
