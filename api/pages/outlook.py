"""What would become of a contract if it were submitted now: one sentence, and the change that would let it start."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from api import systems, verdicts
from api.amounts import difference, need
from api.pages.form import Fields
from api.services import services
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
        return Outlook("never", verdicts.unmade(problem))
    judged = ledger.judge(owner, wanted)
    verdict, hosts, needs = judged["verdict"], judged.get("hosts", []), wanted.resources
    if verdict == "now" or not hosts:
        return Outlook(verdict, verdicts.sentence(judged, wanted))
    offer, change = "", verdicts.smaller(judged, wanted, owner)
    if change:
        offer = verdicts.instead(needs, change)
    elif verdict == "never" and (nearest := judged.get("nearest")):
        change = _within(needs, nearest)
        offer = f"With {difference(needs, change)} it could be had."
    fields = _fields(wanted, change) if change else {}
    return Outlook(verdict, verdicts.sentence(judged, wanted), tuple(_host(host) for host in hosts[:8]), offer, fields)


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


def _fields(wanted: Contract, change: Resources) -> dict[str, str]:
    """What a change puts into the form."""
    before, after = Fields.of(wanted), Fields.of(replace(wanted, resources=change))
    return {name: getattr(after, name) for name in AMOUNTS if getattr(after, name) != getattr(before, name)}


def _within(wanted: Resources, most: dict[str, Any]) -> Resources:
    gpus = min(wanted.gpus.count, int(most["gpus"]))
    return Resources(
        min(wanted.cpu_milli, int(most["cpu_milli"])),
        min(wanted.ram_mib, int(most["ram_mib"])),
        min(wanted.storage_mib, int(most["storage_mib"])),
        replace(wanted.gpus, count=gpus) if gpus else Gpus(),
    )
