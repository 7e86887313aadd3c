"""Advice: the smallest change of a need that would let it start now, by what the ledger says of each host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from common.contract import MIN_CPU_MILLI, MIN_MIB, Gpus, Resources
from common.records import Quota

GPU_WEIGHT = 4  # a share of the GPUs is missed more than one of the cores; the ledger's `nearest` weighs it so too
ANY_GPU_COST = 0.5  # another model than the one asked for, as if half of an amount were given up

_LEAST = {"cpu_milli": MIN_CPU_MILLI, "ram_mib": MIN_MIB, "storage_mib": MIN_MIB, "gpus": 0}


def changes(wanted: Resources, judged: dict[str, Any], left: Quota) -> list[Resources]:
    """Needs that would start now by what `judged`, the ledger's verdict on `wanted`, says; the nearest to it first.

    `left` is what its owner's quota still allows. Whoever tells a person of one asks the ledger about it first:
    hosts change, and another GPU may be no better.
    """
    found: dict[Resources, float] = {}
    for amounts, cost in _smaller(wanted, judged.get("hosts", []), left):
        count = amounts["gpus"]
        smaller = replace(
            wanted,
            cpu_milli=amounts["cpu_milli"],
            ram_mib=amounts["ram_mib"],
            storage_mib=amounts["storage_mib"],
            gpus=replace(wanted.gpus, count=count) if count else Gpus(),
        )
        found[smaller] = min(cost, found.get(smaller, cost))
    if wanted.gpus.count and (wanted.gpus.model or wanted.gpus.memory_mib):
        found[replace(wanted, gpus=Gpus(wanted.gpus.count))] = ANY_GPU_COST
    found.pop(wanted, None)
    return sorted(found, key=lambda needs: found[needs])


def left_of(limit: Quota, used: Quota) -> Quota:
    """What a quota still allows."""
    return Quota(*(_less(most, had) for most, had in zip(_amounts(limit), _amounts(used), strict=True)))


def _smaller(wanted: Resources, hosts: list[dict[str, Any]], left: Quota) -> Iterator[tuple[dict[str, int], float]]:
    """For each host that takes something now: what of each amount it and the quota could give, and what that costs."""
    need = {
        "cpu_milli": wanted.cpu_milli,
        "ram_mib": wanted.ram_mib,
        "storage_mib": wanted.storage_mib,
        "gpus": wanted.gpus.count,
    }
    allowed = {name: getattr(left, name) for name in need}
    for host in hosts:
        if host["state"] != "ready" or host["overcommitted"] or host.get("reserved_for") or "system" in host:
            continue
        free = {short["what"]: int(short["free"]) for short in host.get("short", [])}
        given = {name: min(_known(need[name], free.get(name), allowed[name])) for name in need}
        if left.environments == 0 or any(given[name] < least for name, least in _LEAST.items()):
            continue
        yield given, sum(_share(name, need[name], given[name]) for name in need)


def _share(name: str, need: int, given: int) -> float:
    return (GPU_WEIGHT if name == "gpus" else 1) * (1 - given / need) if need else 0.0


def _known(*amounts: int | None) -> list[int]:
    return [amount for amount in amounts if amount is not None]


def _amounts(quota: Quota) -> tuple[int | None, ...]:
    return quota.environments, quota.cpu_milli, quota.ram_mib, quota.gpus, quota.storage_mib


def _less(most: int | None, had: int | None) -> int | None:
    return None if most is None else max(0, most - (had or 0))
