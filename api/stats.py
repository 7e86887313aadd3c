"""What an environment uses of what its contract allows, now and over the last hour."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify

from api import bodies, streams, wire
from api.auth import owned
from api.openapi.described import AFTER, LAST_EVENT_ID, described, parameter
from api.services import services
from common.contract import Resources
from common.states import State
from common.stats import INTERVAL_SECONDS, MAX_SAMPLES, Sample
from common.units import MIB

blueprint = Blueprint("stats", __name__)


@blueprint.get("/environments/<env_id>/stats")
@described(
    "Stats",
    parameters=(
        AFTER,
        LAST_EVENT_ID,
        parameter("limit", "how many at most", type="integer", minimum=1, maximum=MAX_SAMPLES, default=MAX_SAMPLES),
    ),
)
def stats(env_id: str) -> Response:
    """`now` (null where it does not run), and the newest `limit` samples after `after`, oldest first."""
    found = owned(env_id)
    kept, limit = services().stats, bodies.number("limit", MAX_SAMPLES, 1, MAX_SAMPLES)
    samples = kept.read(found.id, streams.resume_after(), limit)
    now = kept.now(found.id) if found.state is State.RUNNING else None
    return jsonify(
        {
            "now": _sample(now) if now else None,
            "limits": _limits(found.contract.resources),
            "interval_seconds": INTERVAL_SECONDS,
            "series": [_sample(sample) for sample in samples],
        }
    )


def _sample(sample: Sample) -> dict[str, Any]:
    return {"id": sample.id, "at": wire.time(sample.at), **asdict(sample.use)}


def _limits(asked: Resources) -> dict[str, int]:
    return {
        "cpu_milli": asked.cpu_milli,
        "ram_bytes": asked.ram_mib * MIB,
        "storage_bytes": asked.storage_mib * MIB,
        "gpus": asked.gpus.count,
    }
