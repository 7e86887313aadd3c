"""What would become of a contract if it were submitted now: one sentence, and the change that would let it start."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from api import systems, verdicts
from api.pages.form import Fields
from api.pages.words import cores, duration, gpu_words, need
from api.services import services
from common import units
from common.contract import Contract, Gpus, Resources

AMOUNTS = ("cpu", "ram", "storage", "gpu", "gpus")


@dataclass(frozen=True)
class Outlook:
    """`verdict` is now, wait or never."""

    verdict: str
    sentence: str
    hosts: tuple[str, ...] = ()  # a sentence each
    offer: str = ""  # the smallest change, in words
    change: dict[str, str] = field(default_factory=dict)  # field → what to put there


def outlook(owner: str, wanted: Contract) -> Outlook:
    """What the ledger says of `wanted`, and the smallest change of which it says that it would start now."""
    ledger = services().ledger
    if problem := systems.missing(wanted, ledger.hosts()):
        return Outlook("never", f"Never: {problem[0].lower()}{problem[1:]}")
    judged = ledger.judge(owner, wanted)
    hosts = judged.get("hosts", [])
    if judged["verdict"] == "now":
        room = next((host["host"] for host in hosts if host["state"] == "ready" and not _lacking(host)), "")
        return Outlook("now", f"Starts now on {room}." if room else "Starts now.")
    if not hosts:
        return Outlook("wait", "No host has joined yet. It waits until one does.")
    asked, sentences = _asked(wanted), tuple(_host(host) for host in hosts[:8])
    change = verdicts.smaller(judged, wanted, owner)
    offer = _offer(wanted, change, "would start now") if change else ("", {})
    if judged["verdict"] == "wait":
        return Outlook("wait", _waits(judged, asked), sentences, *offer)
    if not change and (nearest := judged.get("nearest")):
        offer = _offer(wanted, _within(wanted.resources, nearest), "could be had")
    return Outlook("never", f"Never: no host could hold {asked}, even if it were empty.", sentences, *offer)


def _waits(judged: dict[str, Any], asked: str) -> str:
    if "parked" in judged:
        return f"Waits until you hold less: over your quota of {judged['parked']}."
    if "estimate" in judged:
        left = int(judged["estimate"]) / 1000 - time.time()
        return f"Waits about {duration(max(60, left - left % 60))} for {asked}." if left > 0 else "Starts in a moment."
    return f"Waits until {asked} is free. What runs there has no end that is known."


def _host(host: dict[str, Any]) -> str:
    name = host["host"]
    if host["state"] != "ready":
        return f"{name} is {host['state']}."
    if lacking := _lacking(host):
        return f"{name} lacks {', '.join(lacking)}."
    return f"{name} has room." if host["ever"] else f"{name} has nothing of that kind."


def _lacking(host: dict[str, Any]) -> list[str]:
    system = [host["system"]] if "system" in host else []
    return [*system, *(need(float(item["short"]), item["what"]) for item in host.get("short", []))]


def _asked(wanted: Contract) -> str:
    r = wanted.resources
    words = [gpu_words(r.gpus)] if r.gpus.count else []
    return " and ".join([*words, f"{cores(r.cpu_milli)} with {units.human_mib(r.ram_mib)} RAM"])


def _offer(wanted: Contract, change: Resources, what: str) -> tuple[str, dict[str, str]]:
    """A change in words, and what it puts into the form."""
    before, after = Fields.of(wanted), Fields.of(replace(wanted, resources=change))
    r = wanted.resources
    words = [
        words
        for changed, words in (
            (r.gpus != change.gpus, gpu_words(change.gpus)),
            (r.cpu_milli != change.cpu_milli, cores(change.cpu_milli)),
            (r.ram_mib != change.ram_mib, need(change.ram_mib, "ram_mib")),
            (r.storage_mib != change.storage_mib, need(change.storage_mib, "storage_mib")),
        )
        if changed
    ]
    fields = {name: getattr(after, name) for name in AMOUNTS if getattr(after, name) != getattr(before, name)}
    return f"{' and '.join(words)} {what}.", fields


def _within(wanted: Resources, most: dict[str, Any]) -> Resources:
    gpus = min(wanted.gpus.count, int(most["gpus"]))
    return Resources(
        min(wanted.cpu_milli, int(most["cpu_milli"])),
        min(wanted.ram_mib, int(most["ram_mib"])),
        min(wanted.storage_mib, int(most["storage_mib"])),
        replace(wanted.gpus, count=gpus) if gpus else Gpus(),
    )
