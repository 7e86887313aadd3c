"""What the API says: environments, events and hosts as JSON, and contracts as documents.

Times are ISO 8601 in UTC. A contract is written with the contract's own keys, so that it can be
submitted again and gives the same contract.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from common.contract import Contract, Gpus, Resources
from common.environment import Environment, Event
from common.inventory import Host
from common.principal import Principal

ROOT = "/api/v1"


def environment(e: Environment) -> dict[str, Any]:
    """One environment."""
    at = f"{ROOT}/environments/{e.id}"
    return {
        "id": e.id,
        "name": e.name,
        "owner": e.owner,
        "state": e.state.value,
        "progress": e.progress,
        "phase": e.phase,
        "message": e.message,
        "reason": e.reason,
        "host": e.host,
        "gpus": list(e.gpus),
        "position": e.position,
        "attempt": e.attempt,
        "created_at": time(e.created_at),
        "updated_at": time(e.updated_at),
        "started_at": time(e.started_at),
        "expires_at": time(e.expires_at),
        "contract": document(e.contract),
        "links": {
            "self": at,
            "events": f"{at}/events",
            "logs": f"{at}/logs",
            "lock": f"{at}/lock",
            "stats": f"{at}/stats",
        },
    }


def etag(e: Environment) -> str:
    """Changes whenever `environment(e)` does; without quotes."""
    return f"{e.revision}-{e.position or 0}"


def event(e: Event) -> dict[str, Any]:
    """One event."""
    return {
        "id": e.id,
        "at": time(e.at),
        "state": e.state.value,
        "progress": e.progress,
        "phase": e.phase,
        "message": e.message,
        "reason": e.reason,
        "host": e.host,
    }


def host(h: Host, viewer: Principal) -> dict[str, Any]:
    """One host. Everyone sees capacities; only admins see which environments hold them."""
    i, free = h.inventory, set(h.free_gpus)
    return {
        "name": h.name,
        "state": h.state,
        "heartbeat_age_seconds": round(h.heartbeat_age_seconds, 1),
        "cpu_milli": {"total": i.cpu_milli, "free": h.free_cpu_milli},
        "ram_mib": {"total": i.ram_mib, "free": h.free_ram_mib},
        "storage_mib": {"total": i.storage_mib, "free": h.free_storage_mib},
        "gpus": [
            {
                "uuid": gpu.uuid,
                "model": gpu.model,
                "memory_mib": gpu.memory_mib,
                "healthy": gpu.healthy,
                "free": gpu.uuid in free,
            }
            for gpu in i.gpus
        ],
        "driver": i.driver,
        "cuda": i.cuda,
        "engine": i.engine,
        "storage_limit": i.storage_limit,
        "notes": list(i.notes),
        "overcommitted": h.overcommitted,
        "environment_count": len(h.environments),
        "environments": list(h.environments) if viewer.admin else [],
    }


def document(c: Contract) -> dict[str, Any]:
    """`c` in the contract's own keys; `common.contract.parse` gives `c` back."""
    return {
        "env-name": c.name,
        "version": "1",
        "os": {
            "image-name": c.os.name,
            "version": c.os.version,
            "tags": c.os.tags,
            "packages": list(c.packages),
        },
        "language": {
            "image-name": c.language.name,
            "version": c.language.version,
            "tags": c.language.tags,
            "libraries": list(c.libraries),
            "lock": c.lock,
        },
        "resources": resources(c.resources),
        "variables": dict(c.variables),
        "lifetime": f"{c.lifetime_seconds}s",
        "priority": str(c.priority),
        "wait": c.wait,
    }


def resources(r: Resources) -> dict[str, str]:
    """`r` in the contract's own keys."""
    return {
        "ram": f"{r.ram_mib}MiB",
        "cpu": f"{r.cpu_milli}m",
        "gpu": _gpu_text(r.gpus),
        "storage": f"{r.storage_mib}MiB",
    }


def time(seconds: float | None) -> str | None:
    """`1767225600.0` → `"2026-01-01T00:00:00.000Z"`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _gpu_text(gpus: Gpus) -> str:
    model = f"{gpus.model}:" if gpus.model else ""
    memory = f"{gpus.memory_mib}MiB:" if gpus.memory_mib else ""
    return f"{model}{memory}{gpus.count}"
