"""What a host has, and what of it is taken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG device, by its UUID. `parent` is the UUID of the card a MIG device is cut from."""

    uuid: str
    model: str  # as NVML names it, "NVIDIA H200" for instance
    memory_mib: int
    healthy: bool = True
    parent: str = ""
    island: int = 0  # GPUs with the same number are linked directly (NVLink); 0 is unknown


@dataclass(frozen=True)
class Offer:
    """An operating system that a host makes environments of, with the versions of a language that it can have there."""

    os: str
    version: str
    language: str
    language_versions: tuple[str, ...]
    title: str = ""  # for people, "Debian 12 (bookworm)"
    tags: tuple[str, ...] = ("",)  # variants


@dataclass(frozen=True)
class Inventory:
    """What a host can give out, and what it can enforce."""

    cpu_milli: int
    ram_mib: int
    storage_mib: int
    gpus: tuple[Gpu, ...] = ()
    driver: str = ""  # version of the NVIDIA driver, "" where there is none
    cuda: str = ""  # newest CUDA that the driver supports, as in "13.0"
    engine: str = ""  # version of the Docker engine
    machine: str = ""  # identity of the machine; two workers of one name are told apart by it
    storage_limit: str = "loop"  # how storage is enforced: "loop", "quota", or "" where it is not
    notes: tuple[str, ...] = ()  # what this host lacks, for its operator
    offers: tuple[Offer, ...] = ()  # what can be chosen here


@dataclass(frozen=True)
class Host:
    """A host as the ledger knows it. Free amounts may not be negative; `overcommitted` says if they would be."""

    name: str
    state: str  # "ready", "draining" or "lost"
    epoch: int
    heartbeat_age_seconds: float
    inventory: Inventory
    free_cpu_milli: int
    free_ram_mib: int
    free_storage_mib: int
    free_gpus: tuple[str, ...]
    overcommitted: bool
    environments: tuple[str, ...]  # ids
    version: str = ""  # another one whenever something but its heartbeat has changed
