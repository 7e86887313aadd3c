"""The catalogue of base images: what can be chosen, as a file that an operator may replace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from common.contract import Contract
from common.errors import ProvisionError, SettingsError
from common.inventory import Offer
from common.settings import Settings
from common.states import Reason
from workers.recipes import Recipe, titled

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_PYTHON = re.compile(r"3\.[0-9]{1,2}", re.ASCII)
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/-]*:[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.]", re.ASCII)
_TEXTS = {"python": _PYTHON, "suite": _WORD, "image": _IMAGE, "runtime": _IMAGE}


@dataclass(frozen=True)
class System:
    """One version of an operating system; what is not to be had is ""."""

    python: str = ""
    suite: str = ""
    image: str = ""
    runtime: str = ""
    variants: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """Values of `tags` that ask for it."""
        usual = ("slim", self.suite, f"slim-{self.suite}") if self.suite else ()
        return ("", *usual, *self.variants)


@dataclass(frozen=True)
class Catalogue:
    """Systems by name and version, and the Pythons that each can have beside its own."""

    systems: Mapping[str, Mapping[str, System]]
    others: tuple[str, ...] = ()

    def recipe_for(self, contract: Contract) -> Recipe:
        """The base image that a contract asks for. Raises ProvisionError that says what can be had."""
        name, version, python = contract.os.name, contract.os.version, contract.language.version
        versions = self.systems.get(name)
        if versions is None:
            raise self._unavailable(f"There is no operating system {name!r} here.")
        system = versions.get(version)
        if system is None:
            raise self._unavailable(f"There is no {name} {version} here.")
        for tags in (contract.os.tags, contract.language.tags):
            if tags not in system.tags:
                raise self._unavailable(f"There is no variant {tags!r} of {name} {version} here.")
        minor = ".".join(python.split(".")[:2])
        if minor != system.python and minor not in self.others:
            raise self._unavailable(f"There is no Python {python} for {titled(name)} {version} here.")
        variant = system.variants.get(contract.os.tags) or system.variants.get(contract.language.tags)
        return Recipe(
            os=name,
            version=version,
            python=python,
            own_python=minor == system.python,
            suite="" if variant else system.suite,
            image=variant or system.image,
            runtime="" if variant else system.runtime.replace("VERSION", python),
            needs=system.needs,
            packages=contract.packages,
        )

    def offers(self, registry: bool, others: bool) -> tuple[Offer, ...]:
        """What `recipe_for` accepts, for those who choose, with or without a `registry` and the `others`."""
        found = []
        for name, versions in self.systems.items():
            for version, system in versions.items():
                pythons = {system.python} if system.python else set()
                if others or (registry and system.runtime):
                    pythons.update(self.others)
                if (registry or system.suite) and pythons:
                    suite = f" ({system.suite})" if system.suite else ""
                    tags = system.tags if registry else tuple(tag for tag in system.tags if tag not in system.variants)
                    title = f"{titled(name)} {version}{suite}"
                    ordered = tuple(sorted(pythons, key=lambda text: int(text.partition(".")[2])))
                    found.append(Offer(name, version, "python", ordered, title, tags))
        return tuple(found)

    def suites(self, os: str) -> frozenset[str]:
        """The suites of an operating system, one mirror of which has them all."""
        return frozenset(system.suite for system in self.systems[os].values() if system.suite)

    def _unavailable(self, problem: str) -> ProvisionError:
        have = "; ".join(
            f"{name} {version} with python {system.python or 'of others'}"
            for name, versions in self.systems.items()
            for version, system in versions.items()
        )
        others = f"; on each also python {', '.join(self.others)}" if self.others else ""
        return ProvisionError(Reason.IMAGE_UNAVAILABLE, f"{problem} To be had: {have}{others}.")


def read(settings: Settings) -> Catalogue:
    """The catalogue that the settings name, or else ours. Raises SettingsError."""
    if not settings.catalogue:
        return parse(files("workers").joinpath("catalogue.yaml").read_text())
    try:
        return parse(Path(settings.catalogue).expanduser().read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"DCLOUD_CATALOGUE is {settings.catalogue}, which cannot be read: {error}") from None
    except ValueError as error:
        raise SettingsError(
            f"DCLOUD_CATALOGUE is {settings.catalogue}, in which {error}. "
            "workers/catalogue.yaml says what may stand there."
        ) from None


def parse(text: str) -> Catalogue:
    """The catalogue in a YAML text. Raises ValueError with a clause that says where it is wrong."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f"line {where.line + 1}" if where else "something"
        raise ValueError(f"{line} is not YAML ({getattr(error, 'problem', error)})") from None
    _keys(values, {"others", "systems"}, "the file")
    others = _list(values.get("others", []), _PYTHON, "others")
    systems = values.get("systems")
    if not isinstance(systems, dict) or not systems:
        raise ValueError("`systems` names none")
    return Catalogue(
        {_text(name, _NAME, "a system"): _versions(name, found) for name, found in systems.items()}, others
    )


def _versions(name: str, values: Any) -> Mapping[str, System]:
    if not isinstance(values, dict) or not values:
        raise ValueError(f"{name} has no versions")
    return {
        _text(version, _WORD, f"a version of {name}"): _system(f"{name} {version}", v) for version, v in values.items()
    }


def _system(where: str, values: Any) -> System:
    _keys(values, {*_TEXTS, "variants", "needs"}, where)
    texts = {key: _text(values[key], pattern, f"{key} of {where}") for key, pattern in _TEXTS.items() if key in values}
    if not {"suite", "image", "runtime"} & set(texts):
        raise ValueError(f"{where} has none of suite, image and runtime, so that it comes from nowhere")
    variants = values.get("variants", {})
    if not isinstance(variants, dict):
        raise ValueError(f"variants of {where} is not a mapping of tags to images")
    return System(
        **texts,
        variants={
            _text(tag, _WORD, f"a variant of {where}"): _text(image, _IMAGE, f"variant {tag} of {where}")
            for tag, image in variants.items()
        },
        needs=_list(values.get("needs", []), _PACKAGE, f"needs of {where}"),
    )


def _keys(values: Any, known: set[str], where: str) -> None:
    if not isinstance(values, dict):
        raise ValueError(f"{where} is not a mapping")
    unknown = [str(key) for key in values if key not in known]
    if unknown:
        raise ValueError(f"{where} has {unknown[0]!r}, which is none of {', '.join(sorted(known))}")


def _list(values: Any, pattern: re.Pattern[str], where: str) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{where} is not a list")
    return tuple(_text(value, pattern, where) for value in values)


def _text(value: Any, pattern: re.Pattern[str], where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where} is {value!r}, which is not a text. Put it in quotes")
    if not pattern.fullmatch(value):
        raise ValueError(f"{where} is {value!r}, which cannot be one")
    return value
