"""Checks before a submit, and explanations after it: now, wait or never, and whether the libraries go together."""

from __future__ import annotations

import json
import time
from typing import Any

from flask import Blueprint, Response, jsonify

from api import bodies, named_contracts, remote, systems, wire
from api.auth import owned, principal
from api.openapi.contracts import CONTRACT_EXAMPLE
from api.openapi.described import CONTRACT_TYPES, PREFER, described, flag
from api.services import services
from api.verdicts import unmade, verdict
from common import ids
from common.channel import ClientEnd
from common.contract import Contract
from common.errors import ChannelClosed
from common.states import State

blueprint = Blueprint("checks", __name__)

WAIT_SECONDS = 25
MAX_ANSWER_BYTES = 256 * 1024


@blueprint.post("/environments/check")
@described(
    "Check",
    body="Submitted",
    body_types=CONTRACT_TYPES,
    parameters=(flag("libraries", "whether a host resolves them"), PREFER),
    refuses=(415,),
    example=CONTRACT_EXAMPLE,
)
def check() -> Response:
    """What would become of a contract. With `libraries` a host resolves them, for as long as `Prefer: wait` says."""
    contract = named_contracts.submitted()
    seconds = bodies.preferred_wait() or WAIT_SECONDS
    ledger, caller = services().ledger, principal()
    found = verdict(ledger.judge(caller.user, contract), contract, caller.user, caller)
    if problem := systems.missing(contract, ledger.hosts()):
        found |= {"verdict": "never", "message": unmade(problem), "estimate": None, "change": None}
    found["contract"] = wire.document(contract)
    found["libraries"] = None
    if bodies.flag("libraries"):
        found["libraries"] = _libraries(contract, _best_host(found), seconds)
    return jsonify(found)


@blueprint.get("/environments/<env_id>/explain")
@described("Explanation")
def explain(env_id: str) -> Response:
    """Why an environment waits and until when, host by host."""
    environment = owned(env_id)
    judged = services().ledger.explain(environment.id)
    found = verdict(judged, environment.contract, environment.owner, principal())
    if judged["state"] != State.QUEUED:
        found |= {"verdict": None, "message": f"It does not wait: it is {judged['state']}.", "change": None}
    return jsonify({"state": judged["state"], **found})


def together(contract: Contract) -> dict[str, Any]:
    """Whether the libraries of `contract` go together, as the host says where it would most likely go."""
    caller = principal()
    judged = services().ledger.judge(caller.user, contract)
    found = verdict(judged, contract, caller.user, caller)
    return _libraries(contract, _best_host(found), WAIT_SECONDS)


def _best_host(found: dict[str, Any]) -> str:
    """Where the environment would go, as far as that is known; else any that answers."""
    alive = [row["host"] for row in found["hosts"] if row["state"] in ("ready", "draining")]
    return alive[0] if alive else ""


def _libraries(contract: Contract, host: str, seconds: float) -> dict[str, Any]:
    if not host:
        return _unknown("No host is there to resolve them.")
    with services().openings.one(principal().user):
        return _asked_of(host, contract, seconds)


def _asked_of(host: str, contract: Contract, seconds: float) -> dict[str, Any]:
    request = {"op": "check", "env": ids.new_id(), "owner": principal().user, "contract": contract.to_dict()}
    try:
        end = remote.open_on(host, request)
    except ChannelClosed as error:
        return _unknown(str(error))
    try:
        return {"host": host, **_answer(end, seconds)}
    except ChannelClosed as error:
        return _unknown(str(error), host)
    finally:
        end.close()


def _answer(end: ClientEnd, seconds: float) -> dict[str, Any]:
    until, after, text = time.monotonic() + seconds, "0", b""
    while time.monotonic() < until and len(text) <= MAX_ANSWER_BYTES:
        for output in end.read(after):
            after = output.id
            if output.kind == "error":
                return _unknown(output.data.decode(errors="replace"))
            text += output.data
            if output.last:
                found: dict[str, Any] = json.loads(text)
                return found
    return _unknown(f"The host did not know after {seconds:g} s. Ask again in a moment: what it has found out is kept.")


def _unknown(message: str, host: str = "") -> dict[str, Any]:
    return {
        "host": host,
        "verdict": "unknown",
        "message": message,
        "packages": [],
        "present": False,
        "installed_bytes": None,
        "download_bytes": None,
    }
