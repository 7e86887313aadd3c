"""The catalogue of base images, and the recipe of one: what decides its content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any, cast

import yaml

from common.contract import Contract
from common.errors import ProvisionError
from common.inventory import Offer
from common.states import Reason

REVISION = 2  # raised when the way that base images are made changes what is in them
# What people and libraries expect beside Python; wheels for Linux count on the C++ and OpenMP runtimes.
PACKAGES = ("ca-certificates", "less", "libgomp1", "libstdc++6", "procps", "tzdata")


@dataclass(frozen=True)
class Recipe:
    """A base image: an operating system with its own Python and packages."""

    os: str
    version: str
    suite: str
    python: str  # as asked for, "3.11" or "3.11.2"
    image: str  # what a registry calls the nearest to it
    needs: tuple[str, ...] = ()  # packages of the distribution that its Python needs
    packages: tuple[str, ...] = ()  # packages that the contract asks for
    revision: int = REVISION

    @property
    def key(self) -> str:
        """The same for the same content."""
        content = json.dumps([asdict(self), PACKAGES], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def tag(self) -> str:
        """The image's name in the engine."""
        return f"dcloud-base:{self.os}-{self.version}-python-{self.python}-{self.key}"

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.os.capitalize()} {self.version} with Python {self.python}"


def recipe_for(contract: Contract) -> Recipe:
    """The base image that a contract asks for. Raises ProvisionError that says what can be had."""
    versions = _catalogue().get(contract.os.name)
    if versions is None:
        raise _unavailable(f"There is no operating system {contract.os.name!r} here.")
    entry = versions.get(contract.os.version)
    if entry is None:
        raise _unavailable(f"There is no {contract.os.name} {contract.os.version} here.")
    for tags in (contract.os.tags, contract.language.tags):
        if tags not in _variants(entry):
            raise _unavailable(f"There is no variant {tags!r} of {contract.os.name} {contract.os.version} here.")
    python = contract.language.version
    if ".".join(python.split(".")[:2]) != entry["python"]:
        raise _unavailable(
            f"{contract.os.name.capitalize()} {contract.os.version} comes with Python {entry['python']}, not {python}."
        )
    return Recipe(
        os=contract.os.name,
        version=contract.os.version,
        suite=entry["suite"],
        python=python,
        image=entry["image"].replace("VERSION", python),
        needs=tuple(entry.get("needs", ())),
        packages=contract.packages,
    )


def offers() -> tuple[Offer, ...]:
    """All that `recipe_for` accepts, for those who choose."""
    return tuple(
        Offer(
            os=name,
            version=version,
            language="python",
            language_versions=(entry["python"],),
            title=f"{name.capitalize()} {version} ({entry['suite']})",
            tags=_variants(entry),
        )
        for name, versions in _catalogue().items()
        for version, entry in versions.items()
    )


def suites(os: str) -> frozenset[str]:
    """The suites of an operating system that the catalogue knows, one mirror of which has them all."""
    return frozenset(entry["suite"] for entry in _catalogue()[os].values())


def _variants(entry: dict[str, Any]) -> tuple[str, ...]:
    return ("", "slim", entry["suite"], f"slim-{entry['suite']}")


def _unavailable(problem: str) -> ProvisionError:
    have = "; ".join(
        f"{name} {version} with python {entry['python']}"
        for name, versions in _catalogue().items()
        for version, entry in versions.items()
    )
    return ProvisionError(Reason.IMAGE_UNAVAILABLE, f"{problem} To be had: {have}.")


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    return cast(dict[str, dict[str, Any]], yaml.safe_load(files("workers").joinpath("catalogue.yaml").read_text()))
