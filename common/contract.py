"""The environment contract: what a user asks for, checked and in the ledger's units.

`parse` takes a document (see `documents` for the formats) and gives a frozen `Contract`, or
raises ContractError with every problem of the document at once, each with its path.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

from marshmallow import ValidationError, post_load, validates_schema

from common import lockfile, units
from common.errors import ContractError, Problem
from common.fields import Flag, LongText, Section, Strict, Text, TextList, problems
from common.requirements import requirement
from common.variables import Variables

MAX_LIBRARIES = 200
MAX_PACKAGES = 100
MIN_CPU_MILLI = 10
MIN_MIB = 16  # of RAM and of storage
MAX_GPUS = 1024
MAX_GPU_MEMORY_MIB = 2**20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_IMAGE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}(?:/[a-z0-9][a-z0-9._-]{0,62})?", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)
_PYTHON_VERSION = re.compile(r"3\.[0-9]{1,2}(\.[0-9]{1,2})?", re.ASCII)
_DEBIAN_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{0,61}[a-z0-9+.]", re.ASCII)  # apt would remove what ends with -
_GPU = re.compile(r"(?:(?P<words>[^:]+(?::[^:]+)?):)?(?P<count>[0-9]{1,4})", re.ASCII)
_GPU_MODEL = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9 ._-]{0,47}", re.ASCII)


@dataclass(frozen=True)
class Image:
    """An operating system or a language runtime: name, version and variant."""

    name: str
    version: str
    tags: str = ""


@dataclass(frozen=True)
class Gpus:
    """How many GPUs, of which model ("" is any) and with at least how much memory (0 is any)."""

    count: int = 0
    model: str = ""
    memory_mib: int = 0


@dataclass(frozen=True)
class Resources:
    """What a container may take at most, in the ledger's units."""

    cpu_milli: int
    ram_mib: int
    storage_mib: int
    gpus: Gpus = Gpus()


@dataclass(frozen=True)
class Contract:
    """What a user asks for. `name` is "" where the user gave none; 0 seconds of lifetime is no end."""

    name: str
    os: Image
    language: Image
    resources: Resources
    libraries: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()  # name and value, by name
    lock: str = ""  # libraries with versions and hashes, as `lockfile` writes them; then `libraries` is empty
    lifetime_seconds: int = 0
    priority: int = 5
    wait: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; `from_dict` reads them back."""
        resources = {**vars(self.resources), "gpus": {**vars(self.resources.gpus)}}
        parts = {"os": {**vars(self.os)}, "language": {**vars(self.language)}, "resources": resources}
        return {field: getattr(self, field) for field in self.__dataclass_fields__} | parts

    @cached_property
    def text(self) -> str:
        """As the ledger keeps it: JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """A hash of all that it says."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Contract:
        """The contract that `to_dict` wrote."""
        resources = dict(values["resources"])
        resources["gpus"] = Gpus(**resources["gpus"])
        return cls(
            **{
                **values,
                "os": Image(**values["os"]),
                "language": Image(**values["language"]),
                "resources": Resources(**resources),
                "libraries": tuple(values["libraries"]),
                "packages": tuple(values["packages"]),
                "variables": tuple((name, value) for name, value in values.get("variables", ())),
            }
        )


def parse(document: object) -> Contract:
    """The contract in `document`, a mapping as JSON, YAML or TOML give it. Raises ContractError."""
    if not isinstance(document, dict):
        raise ContractError(
            [Problem("", "A contract is an object with keys such as env-name, os, language and resources.")]
        )
    try:
        return cast(Contract, _schema().load(document))
    except ValidationError as error:
        raise ContractError(sorted(problems(error.messages), key=lambda p: p.path)) from None


@cache  # one for all documents: making a schema takes longer than reading with it
def _schema() -> Strict:
    return _ContractSchema()


def _matching(pattern: re.Pattern[str], what: str) -> Any:
    def convert(text: str) -> str:
        if text and not pattern.fullmatch(text):
            raise ValueError(what)
        return text

    return convert


def _between(convert: Any, low: int, high: int, what: str) -> Any:
    def checked(text: str) -> int:
        value = int(convert(text))
        if not low <= value <= high:
            raise ValueError(f"is out of range: {what}")
        return value

    return checked


def _digits(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise ValueError("is not a whole number")
    return int(text)


def gpus(text: str) -> Gpus:
    """`[MODEL:][MEMORY:]COUNT` as `Gpus`. Raises ValueError with the end of a sentence."""
    match = _GPU.fullmatch(text)
    if match is None:
        raise ValueError("is not a GPU request. Write [MODEL:][MEMORY:]COUNT, as in 1, H200:2, 40GB:1 or A100:80GB:4")
    count = int(match["count"])
    if count > MAX_GPUS:
        raise ValueError(f"is out of range: at most {MAX_GPUS} GPUs")
    model, memory_mib = "", 0
    for word in (part.strip() for part in (match["words"] or "").split(":")):
        size = _size_or_none(word)
        if size is not None and not memory_mib:
            memory_mib = size
        elif word and size is None and not model and _GPU_MODEL.fullmatch(word):
            model = word
        elif word:
            raise ValueError(
                f"has {word!r}, which is neither a GPU model nor a memory size. Write [MODEL:][MEMORY:]COUNT"
            )
    if memory_mib > MAX_GPU_MEMORY_MIB:
        raise ValueError("is out of range: at most 1 TiB of memory a GPU")
    return Gpus(count, model, memory_mib) if count else Gpus()


def _size_or_none(text: str) -> int | None:
    try:
        return units.size_mib(text)
    except ValueError:
        return None


def _version_one(text: str) -> str:
    if text not in ("1", "1.0"):
        raise ValueError("is not a contract version that this server knows. Write 1")
    return "1"


class _OsSchema(Strict):
    name = Text(
        "debian",
        _matching(_IMAGE_NAME, "is not the name of an image: a-z, 0-9, '.', '_' and '-', with at most one '/'"),
    )
    version = Text("12", _matching(_VERSION, "is not a version: letters, digits, '.', '_' and '-'"))
    tags = Text("", _matching(_VERSION, "is not an image tag: letters, digits, '.', '_' and '-'"))
    packages = TextList(_matching(_DEBIAN_PACKAGE, "is not the name of a Debian package"), MAX_PACKAGES)

    name.data_key = "image-name"


class _LanguageSchema(Strict):
    name = Text("python", _matching(re.compile("python"), "is not a language that can be had. Write python"))
    version = Text("3.11", _matching(_PYTHON_VERSION, "is not a Python version. Write it as in 3.11"))
    tags = Text("", _matching(_VERSION, "is not an image tag: letters, digits, '.', '_' and '-'"))
    libraries = TextList(requirement, MAX_LIBRARIES)
    lock = LongText(lambda text: lockfile.write(lockfile.read(text)), lockfile.MAX_CHARACTERS)

    name.data_key = "image-name"

    @validates_schema
    def one_or_the_other(self, values: dict[str, Any], **kwargs: Any) -> None:
        if values["lock"] and values["libraries"]:
            raise ValidationError("names all libraries already. Leave language.libraries out, or the lock.", "lock")


class _ResourcesSchema(Strict):
    ram = Text("2GB", _between(units.size_mib, MIN_MIB, 64 * 2**20, "between 16MiB and 64TiB"))
    cpu = Text("1", _between(units.cpu_milli, MIN_CPU_MILLI, 4_096_000, "between 0.01 and 4096 cores"))
    gpu = Text("0", gpus)
    storage = Text("10GB", _between(units.size_mib, MIN_MIB, 2**30, "between 16MiB and 1024TiB"))


class _ContractSchema(Strict):
    name = Text(
        "",
        _matching(_NAME, "is not a name: 1 to 63 of A-Z, a-z, 0-9, '_', '.' and '-', beginning with a letter or digit"),
    )
    version = Text("1", _version_one)
    os = Section(_OsSchema)
    language = Section(_LanguageSchema)
    resources = Section(_ResourcesSchema)
    variables = Variables()
    lifetime = Text("0s", _between(units.duration_seconds, 0, 5 * 365 * 86400, "at most 5 years"))
    priority = Text("5", _between(_digits, 0, 9, "0 to 9"))
    wait = Flag()

    name.data_key = "env-name"

    @post_load
    def build(self, values: dict[str, Any], **kwargs: Any) -> Contract:
        os, language, resources = values["os"], values["language"], values["resources"]
        return Contract(
            name=values["name"],
            os=Image(os["name"], os["version"], os["tags"]),
            language=Image(language["name"], language["version"], language["tags"]),
            resources=Resources(resources["cpu"], resources["ram"], resources["storage"], resources["gpu"]),
            libraries=language["libraries"],
            packages=tuple(sorted(set(os["packages"]))),
            lock=language["lock"],
            variables=values["variables"],
            lifetime_seconds=values["lifetime"],
            priority=values["priority"],
            wait=values["wait"],
        )
