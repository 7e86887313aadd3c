"""The form of a new environment: its fields as people fill them in, and the contract's document that they mean."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from api.catalog import FRAMEWORKS
from common.contract import Contract, Gpus
from common.errors import Problem

ANY_GPU = "any"
LIFETIMES = {
    "": "until I stop it", "1h": "1 hour", "4h": "4 hours", "8h": "8 hours", "1d": "1 day", "3d": "3 days",
    "7d": "1 week", "14d": "2 weeks", "30d": "30 days",
}  # fmt: skip

# A path of the contract begins with one of these; the field is where its problem is shown.
PATHS = (
    ("language.lock", "libraries"),
    ("env-name", "name"), ("os.packages", "packages"), ("os", "system"), ("language.libraries", "libraries"),
    ("language", "python"), ("resources.cpu", "cpu"), ("resources.ram", "ram"), ("resources.gpu", "gpu"),
    ("resources.storage", "storage"), ("lifetime", "lifetime"), ("priority", "priority"),
    ("variables", "variables"),
)  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9._-]*")
_COMMENT = re.compile(r"(^|\s)#.*")
MIB_A_GIB = 1024


@dataclass(frozen=True)
class Fields:
    """What stands in each field, as text."""

    name: str = ""
    system: str = "debian 12"  # name and version
    python: str = "3.11"
    framework: str = ""
    libraries: str = ""  # one a line
    lock: str = ""  # all libraries with versions and hashes; then `libraries` is empty
    packages: str = ""
    variables: str = ""  # NAME=value, one a line
    cpu: str = "1"  # cores
    ram: str = "2"  # GiB
    storage: str = "10"  # GiB
    gpu: str = ""  # "" none, "any", or what stands before the count in a contract's `gpu`
    gpus: str = "1"
    lifetime: str = ""
    priority: str = "5"
    wait: str = ""
    os_tags: str = ""
    tags: str = ""

    @classmethod
    def sent(cls, form: Mapping[str, str]) -> Fields:
        """What a browser sent; what is missing is as in an empty form, but for a box that is not ticked."""
        known = {entry.name: form[entry.name] for entry in fields(cls) if entry.name in form}
        # the value of a variable may end with a space
        return cls(**{name: text if name == "variables" else text.strip() for name, text in known.items()})

    @classmethod
    def of(cls, contract: Contract) -> Fields:
        """The form that means `contract`."""
        wanted = contract.resources
        names = {_name(library) for library in contract.libraries}
        framework = next((name for name, _ in FRAMEWORKS if name in names), "")
        libraries = [library for library in contract.libraries if library != framework]
        return cls(
            name=contract.name, system=f"{contract.os.name} {contract.os.version}", python=contract.language.version,
            framework=framework, libraries="\n".join(libraries), lock=contract.lock,
            packages=" ".join(contract.packages),
            variables="\n".join(f"{name}={value}" for name, value in contract.variables),
            cpu=f"{wanted.cpu_milli / 1000:g}", ram=_gib(wanted.ram_mib), storage=_gib(wanted.storage_mib),
            gpu=_gpu(wanted.gpus), gpus=str(wanted.gpus.count or 1),
            lifetime=_lifetime(contract.lifetime_seconds), priority=str(contract.priority),
            wait="1" if contract.wait else "", os_tags=contract.os.tags, tags=contract.language.tags,
        )  # fmt: skip

    def document(self) -> dict[str, Any]:
        """The contract's document, unchecked."""
        os_name, _, os_version = self.system.partition(" ")
        return {
            "env-name": self.name,
            "version": "1",
            "os": {
                "image-name": os_name, "version": os_version, "tags": self.os_tags, "packages": self.packages.split(),
            },
            "language": {
                "image-name": "python", "version": self.python, "tags": self.tags,
                "libraries": list(self._all_libraries()), "lock": self.lock,
            },
            "resources": {
                "ram": self.ram and f"{self.ram}GiB", "cpu": self.cpu, "gpu": self._gpu_text(),
                "storage": self.storage and f"{self.storage}GiB",
            },
            "variables": self._variables(),
            "lifetime": self.lifetime,
            "priority": self.priority,
            "wait": bool(self.wait),
        }  # fmt: skip

    def within(self, largest: Mapping[str, int]) -> Fields:
        """The same with no more CPU, RAM and storage than this, where it says anything."""
        cpu, ram, storage = (largest[name] for name in ("cpu_milli", "ram_mib", "storage_mib"))
        return replace(
            self,
            cpu=f"{min(float(self.cpu), cpu / 1000):g}" if cpu else self.cpu,
            ram=_gib(min(int(float(self.ram) * MIB_A_GIB), ram)) if ram else self.ram,
            storage=_gib(min(int(float(self.storage) * MIB_A_GIB), storage)) if storage else self.storage,
        )

    def _all_libraries(self) -> Iterable[str]:
        found = [line for text in self.libraries.splitlines() if (line := _COMMENT.sub("", text).strip().rstrip(","))]
        if self.framework and self.framework not in {_name(library) for library in found}:
            yield self.framework
        yield from found

    def _variables(self) -> dict[str, str | None]:
        lines = [line.partition("=") for line in self.variables.replace("\r", "").split("\n") if line.strip()]
        return {name.strip(): value if equals else None for name, equals, value in lines}

    def _gpu_text(self) -> str:
        if not self.gpu:
            return "0"
        return self.gpus if self.gpu == ANY_GPU else f"{self.gpu}:{self.gpus}"


@dataclass
class Faults:
    """Problems of a contract, by the field in which each is shown; "" is above the form."""

    by_field: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> Faults:
        found = cls()
        for problem in problems:
            name = next((shown for path, shown in PATHS if problem.path.startswith(path)), "")
            at = problem.path.removeprefix("variables.") if name == "variables" else "" if name else problem.path
            prefix = f"{at}: " if at else ""
            found.by_field.setdefault(name, []).append(prefix + problem.message)
        return found

    def get(self, name: str) -> list[str]:
        """What is wrong with a field."""
        return self.by_field.get(name, [])

    def __bool__(self) -> bool:
        return bool(self.by_field)


def _name(library: str) -> str:
    match = _NAME.match(library)
    return match[0].lower() if match else ""


def _gib(mib: int) -> str:
    # never upward, so that the contract's own rounding upward gives the same MiB again
    return f"{math.floor(mib / MIB_A_GIB * 10_000) / 10_000:g}" if mib >= 1 else "0"


def _gpu(gpus: Gpus) -> str:
    words = [gpus.model, f"{gpus.memory_mib}MiB" if gpus.memory_mib else ""]
    return ":".join(word for word in words if word) or (ANY_GPU if gpus.count else "")


def _lifetime(seconds: int) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s" if seconds else ""
