"""Whether this process lives and whether it can serve, for load balancers."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from api.openapi.described import described
from api.problems import problem
from api.services import services
from common.errors import RedisUnavailable

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@described("Health")
def healthz() -> Response:
    """200 as long as the process answers."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
@described("Ready")
def readyz() -> Response:
    """200 where Redis can serve and a worker is alive, else 503 with what is missing."""
    ledger = services().ledger
    try:
        ledger.check()
        alive = sum(host.state != "lost" for host in ledger.hosts())
    except RedisUnavailable as error:
        return problem(503, str(error), headers={"Retry-After": "2"})
    if not alive:
        return problem(503, "No worker is alive. Start one; its log says why it ended.", headers={"Retry-After": "2"})
    return jsonify({"status": "ready", "workers": alive})
