"""The catalogue: what can be chosen now, and what of it is free. A form can be built from it alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Blueprint, Response, jsonify

from api import wire
from api.openapi.described import described
from api.services import services
from common import contract
from common.inventory import Gpu, Host

blueprint = Blueprint("catalog", __name__)

Amounts = dict[str, int]

# Libraries that come in builds for a GPU and for none; the host chooses the build by what the contract asks for.
FRAMEWORKS = (("torch", "PyTorch"), ("tensorflow", "TensorFlow"), ("jax", "JAX"))


@blueprint.get("/catalog")
@described("Catalog")
def catalog() -> Response:
    """What can be chosen now: systems, languages, frameworks, GPUs, the largest request, and the defaults."""
    return jsonify(offered(services().ledger.hosts()))


def offered(hosts: list[Host]) -> dict[str, Any]:
    """The catalogue of these hosts. What a lost host has counts for `ever` alone, as in the ledger's own verdicts."""
    live = [host for host in hosts if host.state != "lost"]
    now = [_free(host) for host in live if host.state == "ready" and not host.overcommitted]
    ever = [_total(host) for host in hosts]
    return {
        "systems": _systems(live),
        "frameworks": [
            {"name": name, "title": title, "libraries": [name], "gpu": any(host.inventory.cuda for host in live)}
            for name, title in FRAMEWORKS
        ],
        "gpus": _gpus(hosts),
        "largest": {
            "now": {**_largest(now), "together": _undominated(now)},
            "ever": {**_largest(ever), "together": _undominated(ever)},
        },
        "smallest": {"cpu_milli": contract.MIN_CPU_MILLI, "ram_mib": contract.MIN_MIB, "storage_mib": contract.MIN_MIB},
        "defaults": wire.document(contract.parse({})),
        "hosts": {state: sum(host.state == state for host in hosts) for state in ("ready", "draining", "lost")},
    }


def _systems(live: list[Host]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for host in live:
        for offer in host.inventory.offers:
            system = found.setdefault(
                (offer.os, offer.version),
                {
                    "image-name": offer.os,
                    "version": offer.version,
                    "title": offer.title,
                    "tags": list(offer.tags),
                    "languages": {},
                },
            )
            versions = system["languages"].setdefault(offer.language, set())
            versions.update(offer.language_versions)
    for system in found.values():
        system["languages"] = [
            {"image-name": name, "versions": sorted(versions, key=_by_number)}
            for name, versions in sorted(system["languages"].items())
        ]
    return [found[key] for key in sorted(found, key=lambda key: (key[0], _by_number(key[1])))]


def _gpus(hosts: list[Host]) -> list[dict[str, Any]]:
    """A row for each model and memory: how many in all, free, and on one host, and how a contract asks for it."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for host in hosts:
        free = set(host.free_gpus) if host.state == "ready" and not host.overcommitted else set()
        here: dict[tuple[str, int], list[Gpu]] = {}
        for gpu in host.inventory.gpus:
            here.setdefault((gpu.model, gpu.memory_mib), []).append(gpu)
        for (model, memory_mib), gpus in here.items():
            row = rows.setdefault(
                (model, memory_mib),
                {
                    "model": model,
                    "memory_mib": memory_mib,
                    "request": _request(model, memory_mib),
                    "total": 0,
                    "free": 0,
                    "largest": {"now": 0, "ever": 0},
                },
            )
            healthy = sum(gpu.healthy for gpu in gpus)
            unused = sum(gpu.uuid in free for gpu in gpus)
            row["total"] += healthy
            row["free"] += unused
            row["largest"] = {"now": max(row["largest"]["now"], unused), "ever": max(row["largest"]["ever"], healthy)}
    return [rows[key] for key in sorted(rows, key=lambda key: (key[1], key[0]))]


def _request(model: str, memory_mib: int) -> str:
    """What stands before the count in a contract's `gpu`."""
    text = f"{model}:{memory_mib}MiB"
    try:
        contract.gpus(f"{text}:1")
    except ValueError:  # a name that contracts do not take
        return f"{memory_mib}MiB"
    return text


def _free(host: Host) -> Amounts:
    return {
        "cpu_milli": host.free_cpu_milli,
        "ram_mib": host.free_ram_mib,
        "storage_mib": host.free_storage_mib,
        "gpus": len(host.free_gpus),
    }


def _total(host: Host) -> Amounts:
    had = host.inventory
    return {
        "cpu_milli": had.cpu_milli,
        "ram_mib": had.ram_mib,
        "storage_mib": had.storage_mib if had.storage_limit else 0,  # what cannot be limited is not given
        "gpus": sum(gpu.healthy for gpu in had.gpus),
    }


def _largest(rooms: list[Amounts]) -> Amounts:
    """The most of each alone, which need not be on one host."""
    return {
        name: max((room[name] for room in rooms), default=0) for name in ("cpu_milli", "ram_mib", "storage_mib", "gpus")
    }


def _undominated(rooms: Iterable[Amounts]) -> list[Amounts]:
    """What one host has together, without those of which another has as much of everything."""
    kept: list[Amounts] = []
    for room in sorted(rooms, key=lambda room: tuple(room.values()), reverse=True):
        if not any(all(other[name] >= room[name] for name in room) for other in kept):
            kept.append(room)
    return kept


def _by_number(version: str) -> tuple[tuple[int, int | str], ...]:
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in version.split("."))
