"""What the ledger stores and answers, read into dataclasses; its needs and quotas, as it writes them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Any

from common.contract import Contract, Resources
from common.environment import Environment, Event, Job
from common.errors import NotFound
from common.inventory import Gpu, Host, Inventory, Offer
from common.states import State

_LONGEST_KEPT = 4096  # characters of a contract that is kept in memory; locks make some far longer


@dataclass(frozen=True)
class Quota:
    """What an owner's environments may hold together; None is no limit."""

    environments: int | None = None
    cpu_milli: int | None = None
    ram_mib: int | None = None
    gpus: int | None = None
    storage_mib: int | None = None

    def text(self) -> str:
        """As the ledger writes it."""
        return "|".join("" if amount is None else str(amount) for amount in astuple(self))

    @classmethod
    def of(cls, text: str) -> Quota:
        """The quota that `text` wrote."""
        return cls(*(int(part) if part else None for part in text.split("|"))) if text else cls()


@dataclass(frozen=True)
class Limits:
    """What an owner's environments may hold, by limits of their own or else by the default, and what they do hold."""

    own: Quota | None
    default: Quota | None
    used: Quota
    version: str  # of the limits, for who changes what they saw

    @property
    def holding(self) -> Quota:
        """Those that hold."""
        return self.own or self.default or Quota()

    @classmethod
    def of(cls, own: str | None, default: str | None, used: str | None) -> Limits:
        """The limits that the ledger wrote as these texts."""
        known = (None if text is None else Quota.of(text) for text in (own, default))
        return cls(next(known), next(known), Quota.of(used or "0|0|0|0|0"), f"{own or ''} {default or ''}")


@dataclass(frozen=True)
class Difference:
    """Where a host's containers and its allocations disagree; ids of environments."""

    orphans: tuple[str, ...]  # containers without an allocation here
    missing: tuple[str, ...]  # environments that should run, without a running container
    making: tuple[str, ...]  # environments that some thread of the host should be working on
    due: tuple[str, ...]  # environments that `todo` tells of
    waiting: bool  # whether anything is queued that a claim could give


# Of 80 GiB an H100 keeps some for itself and reports 81,559 MiB, an older driver of a T4's 16 GB 15,109 MiB.
# No two sizes of cards are as close as that: 11 GiB are not taken for 12 GB.
GPU_MEMORY_PERCENT = 99


def shape(contract: Contract) -> str:
    """The shape of a need, as the ledger writes it. Of GPU memory a hundredth may lack: cards go by round sizes."""
    wanted, os, language = contract.resources, contract.os, contract.language
    gpus = wanted.gpus
    memory_mib = gpus.memory_mib * GPU_MEMORY_PERCENT // 100
    amounts = f"{wanted.cpu_milli}:{wanted.ram_mib}:{wanted.storage_mib}:{gpus.count}:{memory_mib}:{gpus.model}"
    return f"{amounts}:{os.name} {os.version} {language.name} {language.version}"


def cost(wanted: Resources) -> int:
    """What a need adds to its owner's virtual time: milli cores, 4 GiB of RAM as one core, a GPU as 16."""
    return max(wanted.cpu_milli, wanted.ram_mib * 1000 // 4096, 100) + 16_000 * wanted.gpus.count


# What of a record is needed to show its environment.
SHOWN = (
    "event", "name", "owner", "state", "progress", "phase", "message", "reason", "host", "gpus", "token", "attempt",
    "created", "started", "expires",
)  # fmt: skip


def environment_of(env_id: str, r: dict[str, str], contract: str, position: int) -> Environment:
    """The environment that a record and its contract describe."""
    ms, _, sequence = r["event"].partition("-")
    return Environment(
        id=env_id, name=r["name"], owner=r["owner"], state=State(r["state"]),
        contract=_contract_of(contract), progress=int(r["progress"]), phase=r["phase"],
        message=r["message"], reason=r["reason"], host=r["host"], gpus=_gpus(r["gpus"]), token=int(r["token"]),
        attempt=int(r["attempt"]), position=position or None, revision=int(ms) * 1000 + int(sequence),
        created_at=int(r["created"]) / 1000, updated_at=int(ms) / 1000, started_at=_time(r["started"]),
        expires_at=_time(r["expires"]),
    )  # fmt: skip


def seen_environment(env_id: str, seen: list[Any] | None) -> Environment:
    """The environment that the ledger's `look` saw. Raises NotFound."""
    if seen is None:
        raise NotFound(f"There is no environment {env_id}.")
    record, contract, position = seen
    flat = json.loads(record)
    return environment_of(env_id, dict(zip(flat[::2], flat[1::2], strict=True)), contract, position)


def event_of(entry_id: str, fields: dict[str, str]) -> Event:
    """The event in a stream entry; its time is in its id."""
    return Event(
        id=entry_id, at=int(entry_id.partition("-")[0]) / 1000, state=State(fields["s"]), progress=int(fields["p"]),
        phase=fields["ph"], message=fields["m"], reason=fields["r"], host=fields["h"],
    )  # fmt: skip


def job_of(fields: list[str]) -> Job:
    """The job in a claim's answer."""
    env_id, name, owner, token, attempt, contract, gpus, pin, origin = fields
    return Job(
        id=env_id, name=name, owner=owner, token=int(token), attempt=int(attempt),
        contract=_contract_of(contract), gpus=_gpus(gpus), has_storage=pin != "", origin=origin,
    )  # fmt: skip


def host_of(name: str, r: dict[str, str], environments: list[str], lease_end_ms: float, now_ms: float) -> Host:
    """The host that a record describes; `lease_end_ms` has a minus where the host is lost."""
    values = json.loads(r["inventory"])
    gpus = tuple(Gpu(**gpu) for gpu in values["gpus"])
    offers = tuple(_offer(offer) for offer in values.get("offers", []))  # a worker of an earlier version has none
    return Host(
        name=name,
        state="draining" if r["state"] == "ready" and r["drain"] == "1" else r["state"],
        epoch=int(r["epoch"]),
        heartbeat_age_seconds=max(0.0, (now_ms + int(r["lease"]) - abs(lease_end_ms)) / 1000),
        inventory=Inventory(**{**values, "gpus": gpus, "offers": offers, "notes": tuple(values["notes"])}),
        free_cpu_milli=int(r["free_cpu"]),
        free_ram_mib=int(r["free_ram"]),
        free_storage_mib=int(r["free_storage"]),
        free_gpus=tuple(entry.partition("|")[0] for entry in r["free"].split(";") if entry),
        overcommitted=r["over"] == "1",
        environments=tuple(sorted(environments)),
        version=_version_of(r, sorted(environments)),
    )


def _version_of(r: dict[str, str], environments: list[str]) -> str:
    """As the ledger makes it (`version_of` in hosts.lua), to be compared there."""
    shown = ("state", "drain", "over", "free_cpu", "free_ram", "free_storage", "free", "inventory")
    told = "\n".join([*(r[name] for name in shown), ",".join(environments)])
    return hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()


def gpus_in(inventory: str) -> list[Gpu]:
    """The GPUs of an inventory as a record has it; "" is none."""
    return [Gpu(**gpu) for gpu in json.loads(inventory)["gpus"]] if inventory else []


def gpus_of(allocations: list[str]) -> set[str]:
    """UUIDs that allocations hold."""
    return {uuid for text in allocations for uuid in _gpus(text.rpartition("|")[2])}


def _offer(values: dict[str, Any]) -> Offer:
    lists = {name: tuple(values[name]) for name in ("language_versions", "tags")}
    return Offer(**{**values, **lists})


def _gpus(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _contract_of(text: str) -> Contract:
    """The contract that the ledger keeps as `text`, read once: nothing of a contract can be changed."""
    return _read_contract(text) if len(text) <= _LONGEST_KEPT else _read_contract.__wrapped__(text)


@lru_cache(maxsize=2048)
def _read_contract(text: str) -> Contract:
    return Contract.from_dict(json.loads(text))


def _time(text: str) -> float | None:
    return int(text) / 1000 if text else None


def merged(pages: list[dict[str, Any]]) -> dict[str, Any]:
    """What `explain` said of some hosts at a time, as one answer with its verdict; `nearest` is the caller's to add."""
    first = pages[0]
    hosts = [host for page in pages for host in page.get("hosts", [])]
    estimates = [page["estimate"] for page in pages if "estimate" in page]
    result: dict[str, Any] = {
        key: first[key] for key in ("state", "owner", "parked", "beyond", "position") if key in first
    }
    if "beyond" in first:
        verdict = "never"
    elif any(page["fits"] for page in pages) and "parked" not in first:
        verdict = "now"
    elif "parked" in first or not hosts or any(page["ever"] for page in pages):
        verdict = "wait"
    else:
        verdict = "never"
    result["verdict"] = verdict
    if hosts:
        result["hosts"] = hosts
    if estimates:
        result["estimate"] = min(estimates, key=int)
    return result
