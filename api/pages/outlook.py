"""What would become of a contract if it were submitted now: one sentence, and the change that would let it start."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from api.pages.words import cores, duration, gpu_words, need
from api.services import services
from common import units
from common.contract import Contract


@dataclass(frozen=True)
class Outlook:
    """`verdict` is now, wait or never."""

    verdict: str
    sentence: str
    hosts: tuple[str, ...] = ()  # a sentence each
    offer: str = ""  # the smallest change, in words
    change: dict[str, str] = field(default_factory=dict)  # field → what to put there


def outlook(owner: str, wanted: Contract) -> Outlook:
    """What the ledger says of `wanted`."""
    judged = services().ledger.judge(owner, wanted.resources)
    hosts = judged.get("hosts", [])
    sentences = tuple(_host(host) for host in hosts[:8])
    asked = _asked(wanted)
    if judged["verdict"] == "now":
        ready = next(h for h in hosts if h["state"] == "ready" and h["ever"] and "short" not in h)
        return Outlook("now", f"Starts now on {ready['host']}.", sentences)
    if not hosts:
        return Outlook("wait", "No host has joined yet. It waits until one does.")
    if judged["verdict"] == "wait":
        return Outlook("wait", _waits(judged, asked), sentences)
    nearest = judged.get("nearest") or {}
    return Outlook(
        "never", f"Never: no host could hold {asked}, even if it were empty.", sentences, *_nearest(wanted, nearest)
    )


def _waits(judged: dict[str, Any], asked: str) -> str:
    if "parked" in judged:
        return f"Waits: {judged['parked']}"
    if "estimate" in judged:
        left = int(judged["estimate"]) / 1000 - time.time()
        return f"Waits about {duration(max(60, left - left % 60))} for {asked}." if left > 0 else "Starts in a moment."
    return f"Waits until {asked} is free. What runs there has no end that is known."


def _host(host: dict[str, Any]) -> str:
    name = host["host"]
    if host["state"] != "ready":
        return f"{name} is {host['state']}."
    if short := host.get("short"):
        return f"{name} lacks {', '.join(need(float(item['short']), item['what']) for item in short)}."
    return f"{name} has room." if host["ever"] else f"{name} has nothing of that kind."


def _asked(wanted: Contract) -> str:
    r = wanted.resources
    words = [gpu_words(r.gpus)] if r.gpus.count else []
    return " and ".join([*words, f"{cores(r.cpu_milli)} with {units.human_mib(r.ram_mib)} RAM"])


def _nearest(wanted: Contract, most: dict[str, int]) -> tuple[str, dict[str, str]]:
    """The largest of what is asked for that the nearest host could hold."""
    r, has = wanted.resources, {"cpu_milli": 0, "ram_mib": 0, "storage_mib": 0, "gpus": 0, **most}
    pairs = (
        ("cpu", r.cpu_milli, has["cpu_milli"], f"{has['cpu_milli'] / 1000:g}", "cpu_milli"),
        ("ram", r.ram_mib, has["ram_mib"], f"{has['ram_mib'] // 102.4 / 10:g}", "ram_mib"),
        ("storage", r.storage_mib, has["storage_mib"], f"{has['storage_mib'] // 102.4 / 10:g}", "storage_mib"),
        ("gpus", r.gpus.count, has["gpus"], str(has["gpus"]), "gpus"),
    )
    change = {name: text for name, asked, given, text, _ in pairs if asked > given}
    words = [need(given, what) for _, asked, given, _, what in pairs if asked > given]
    if change.get("gpus") == "0":
        change = {**{k: v for k, v in change.items() if k != "gpus"}, "gpu": ""}
    return (f"{' and '.join(words)} could be had", change) if most and change else ("", {})
