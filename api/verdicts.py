"""Verdicts: whether something starts now, waits or never starts, as the ledger judges it, in words and as JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from api import wire
from api.services import services
from common import advice, units
from common.contract import Contract, Gpus, Resources
from common.principal import Principal

MAX_HOSTS = 100  # that are listed, those with room first
MAX_ADVICE = 3  # changes that the ledger is asked about


def verdict(judged: dict[str, Any], wanted: Contract, owner: str, viewer: Principal) -> dict[str, Any]:
    """What `Ledger.judge` or `Ledger.explain` said. Only admins see who holds what."""
    hosts = sorted((_host(item, viewer) for item in judged.get("hosts", [])), key=_nearest_first)
    change = smaller(judged, wanted, owner) if judged["verdict"] != "now" else None
    needs = wanted.resources
    return {
        "verdict": judged["verdict"],
        "message": _message(judged, hosts, needs, change),
        "estimate": wire.time(_seconds(judged.get("estimate"))),
        "position": judged.get("position"),
        "quota": judged.get("parked", ""),
        "change": {"resources": _differing(needs, change)} if change else None,
        "nearest": {"resources": wire.resources(_resources(needs, nearest))}
        if (nearest := judged.get("nearest"))
        else None,
        "hosts": hosts[:MAX_HOSTS],
        "host_count": len(hosts),
    }


def smaller(judged: dict[str, Any], wanted: Contract, owner: str) -> Resources | None:
    """The smallest change of what `wanted` takes of which the ledger itself says that it would start now."""
    ledger = services().ledger
    for needs in advice.changes(wanted.resources, judged, advice.left_of(*ledger.quota(owner)))[:MAX_ADVICE]:
        if ledger.judge(owner, replace(wanted, resources=needs))["verdict"] == "now":
            return needs
    return None


def _host(item: dict[str, Any], viewer: Principal) -> dict[str, Any]:
    short = {
        part["what"]: {name: int(part[name]) for name in ("need", "free", "short")} for part in item.get("short", [])
    }
    reserved, system = bool(item.get("reserved_for")), item.get("system", "")
    row = {
        "host": item["host"],
        "state": item["state"],
        "fits": item["state"] == "ready" and not (short or system or reserved or item["overcommitted"]),
        "ever": item["ever"],
        "short": short,
        "system": system,
        "reserved": reserved,
        "overcommitted": item["overcommitted"],
        "free_at": wire.time(_seconds(item.get("free_at"))),
    }
    return {**row, "held_by": item.get("held_by", [])} if viewer.admin else row


def _nearest_first(row: dict[str, Any]) -> tuple[bool, bool, float, str]:
    lack = sum(part["short"] / part["need"] for part in row["short"].values())
    return not row["fits"], not row["ever"], lack, row["host"]


def _message(judged: dict[str, Any], hosts: list[dict[str, Any]], wanted: Resources, change: Resources | None) -> str:
    instead = f" With {_in_words(wanted, change)} it would start now." if change else ""
    if judged["verdict"] == "now":
        room = next((row["host"] for row in hosts if row["fits"]), "")
        return f"Starts now: {room} has room." if room else "Starts now."
    if judged["verdict"] == "never":
        if all(row["system"] for row in hosts):
            return f"Never: no host makes {hosts[0]['system']}."
        return f"Never: no host could hold it, even if it were empty.{instead}"
    if "parked" in judged:
        return f"Waits until its owner holds less: over the quota of {judged['parked']}.{instead}"
    if not hosts:
        return "Waits: no host has joined yet."
    when = wire.time(_seconds(judged.get("estimate")))
    return (
        f"Waits for room, until {when} at the latest if others' lifetimes hold.{instead}"
        if when
        else f"Waits for room.{instead}"
    )


def _in_words(wanted: Resources, change: Resources) -> str:
    words = {
        "cpu": f"{units.human_cpu(change.cpu_milli)} cores",
        "ram": f"{units.human_mib(change.ram_mib)} of RAM",
        "storage": f"{units.human_mib(change.storage_mib)} of storage",
        "gpu": "no GPU" if not change.gpus.count else f"{wire.resources(change)['gpu']} as GPU",
    }
    return " and ".join(words[name] for name in _differing(wanted, change))


def _differing(wanted: Resources, change: Resources) -> dict[str, str]:
    before, after = wire.resources(wanted), wire.resources(change)
    return {name: after[name] for name in after if after[name] != before[name]}


def _resources(wanted: Resources, nearest: dict[str, Any]) -> Resources:
    gpus = int(nearest["gpus"])
    return Resources(
        int(nearest["cpu_milli"]),
        int(nearest["ram_mib"]),
        int(nearest["storage_mib"]),
        replace(wanted.gpus, count=gpus) if gpus else Gpus(),
    )


def _seconds(ms: Any) -> float | None:
    return int(ms) / 1000 if ms else None
