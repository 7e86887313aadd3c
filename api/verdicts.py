"""Verdicts: whether something starts now, waits or never starts, as the ledger judges it, in words and as JSON."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from api import wire
from api.amounts import cores, difference, duration, gpu_words
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
        "message": " ".join([sentence(judged, wanted), *([instead(needs, change)] if change else [])]),
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


def sentence(judged: dict[str, Any], wanted: Contract) -> str:
    """What becomes of it, in one line."""
    hosts, asked = judged.get("hosts", []), _asked(wanted.resources)
    if judged["verdict"] == "now":
        room = next((item["host"] for item in hosts if _fits(item)), "")
        return f"Starts now on {room}." if room else "Starts now."
    if "beyond" in judged:
        return f"Never: by itself it is over its owner's quota of {judged['beyond']}."
    if judged["verdict"] == "never":
        if hosts and all(item.get("system") for item in hosts):
            return unmade(f"No host makes {hosts[0]['system']}.")
        return f"Never: no host could hold {asked}, even if it were empty."
    return _waits(judged, asked)


def unmade(problem: str) -> str:
    """The same for a system that no host makes; `problem` is what `systems.missing` says."""
    return f"Never: {problem[0].lower()}{problem[1:]}"


def instead(needs: Resources, change: Resources) -> str:
    """What the smallest change is good for."""
    return f"With {difference(needs, change)} it would start now."


def smaller(judged: dict[str, Any], wanted: Contract, owner: str) -> Resources | None:
    """The smallest change of what `wanted` takes of which the ledger itself says that it would start now."""
    ledger = services().ledger
    for needs in advice.changes(wanted.resources, judged, advice.left_of(*ledger.quota(owner)))[:MAX_ADVICE]:
        if ledger.judge(owner, replace(wanted, resources=needs))["verdict"] == "now":
            return needs
    return None


def _waits(judged: dict[str, Any], asked: str) -> str:
    if "parked" in judged:
        return f"Waits until its owner holds less: over the quota of {judged['parked']}."
    if not judged.get("hosts"):
        return "Waits: no host has joined yet."
    if "estimate" not in judged:
        return f"Waits until {asked} is free. What runs there has no end that is known."
    left = int(judged["estimate"]) / 1000 - time.time()
    return f"Waits about {duration(max(60, left - left % 60))} for {asked}." if left > 0 else "Starts in a moment."


def _asked(needs: Resources) -> str:
    words = [gpu_words(needs.gpus)] if needs.gpus.count else []
    return " and ".join([*words, f"{cores(needs.cpu_milli)} with {units.human_mib(needs.ram_mib)} RAM"])


def _fits(item: dict[str, Any]) -> bool:
    lacks = any(item.get(name) for name in ("short", "system", "reserved_for", "overcommitted"))
    return item["state"] == "ready" and not lacks


def _host(item: dict[str, Any], viewer: Principal) -> dict[str, Any]:
    short = {
        part["what"]: {name: int(part[name]) for name in ("need", "free", "short")} for part in item.get("short", [])
    }
    row = {
        "host": item["host"],
        "state": item["state"],
        "fits": _fits(item),
        "ever": item["ever"],
        "short": short,
        "system": item.get("system", ""),
        "reserved": bool(item.get("reserved_for")),
        "overcommitted": item["overcommitted"],
        "free_at": wire.time(_seconds(item.get("free_at"))),
    }
    return {**row, "held_by": item.get("held_by", [])} if viewer.admin else row


def _nearest_first(row: dict[str, Any]) -> tuple[bool, bool, float, str]:
    lack = sum(part["short"] / part["need"] for part in row["short"].values())
    return not row["fits"], not row["ever"], lack, row["host"]


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
