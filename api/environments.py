"""Environments: submit, list, look, stop, start, delete."""

from __future__ import annotations

import time

from flask import Blueprint, Response, g, jsonify, request

from api import auditing, bodies, conditions, glances, named_contracts, paging, systems, wire
from api.auth import owned, principal
from api.openapi.contracts import CONTRACT_EXAMPLE
from api.openapi.described import (
    CONTRACT_TYPES,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    PAGED,
    PREFER,
    described,
    parameter,
)
from api.problems import Refused
from api.services import services
from common import ids, units
from common.contract import Contract
from common.environment import Environment
from common.errors import ContractError, NeverFits, Problem
from common.states import State

blueprint = Blueprint("environments", __name__)

WAIT = "set wait to true to wait for a host that is not there yet."
MORE = "Ask for less, ask an admin for more, or set wait to true to wait for that."
USER_PRIORITY = 5  # what is above needs an admin
LOOK_AGAIN_SECONDS = 5.0  # a place in the queue changes without an event


@blueprint.post("/environments")
@described(
    "Environment",
    202,
    body="Submitted",
    body_types=CONTRACT_TYPES,
    parameters=(IDEMPOTENCY_KEY,),
    headers=("ETag", "Location"),
    refuses=(409, 415),
    example=CONTRACT_EXAMPLE,
)
def submit() -> Response:
    """Accept a contract."""
    return _answer(accept(named_contracts.submitted(), bodies.idempotency_key(), 202), 202)


@blueprint.get("/environments")
@described(
    "Environments",
    parameters=(
        parameter("state", "only these, between commas"),
        parameter("owner", "only this user's; another's for admins"),
        *PAGED,
    ),
)
def page() -> Response:
    """A page of one's own environments, newest first; admins see everyone's."""
    found, following = services().ledger.environments(_owner(), _states(), paging.limit(), paging.after(ids.PATTERN))
    return jsonify({"environments": [wire.environment(e) for e in found], "next": paging.cursor(following)})


@blueprint.get("/environments/<env_id>")
@described(
    "Environment",
    parameters=(PREFER, IF_NONE_MATCH),
    headers=("ETag", "Preference-Applied"),
    also={304: "it did not change"},
)
def look(env_id: str) -> Response:
    """One environment; with `Prefer: wait=N` after a change or N seconds."""
    found = owned(env_id)
    applied = bodies.preferred_wait()
    if applied and (not request.if_none_match or request.if_none_match.contains_weak(wire.etag(found))):
        found = _changed(found, applied)
    response = _answer(found, 200)
    glances.repeatable(found, services())
    if applied:
        response.headers["Preference-Applied"] = f"wait={applied}"
    return conditions.conditional(response)


@blueprint.delete("/environments/<env_id>")
@described("Environment", 202, parameters=(IF_MATCH,), headers=("ETag", "Location"), refuses=(409, 412))
def delete(env_id: str) -> Response:
    """Remove it and all of its storage."""
    return _answer(services().ledger.delete(env_id, seen=as_seen(env_id)), 202)


@blueprint.post("/environments/<env_id>/stop")
@described("Environment", 202, parameters=(IF_MATCH,), headers=("ETag", "Location"), refuses=(409, 412))
def stop(env_id: str) -> Response:
    """End the container and keep the storage."""
    return _answer(services().ledger.stop(env_id, seen=as_seen(env_id)), 202)


@blueprint.post("/environments/<env_id>/start")
@described("Environment", 202, parameters=(IF_MATCH,), headers=("ETag", "Location"), refuses=(409, 412))
def start(env_id: str) -> Response:
    """Start what was stopped, with its storage."""
    return _answer(services().ledger.start(env_id, seen=as_seen(env_id)), 202)


def accept(contract: Contract, key: str, status: int = 303) -> Environment:
    """Submit for whoever asks; the same `key` gives the same environment. Raises ContractError, Conflict, Refused.

    `status` is what will be answered: the line of the audit log is written together with the environment, so that the
    answer waits for the disk once.
    """
    if contract.priority > USER_PRIORITY and not principal().admin:
        raise Refused(403, f"priority is {contract.priority}; above {USER_PRIORITY} it needs an admin.")
    parts, env_id = services(), ids.new_id()
    entry = auditing.ahead(status, env_id, name=contract.name or env_id)
    line = parts.audit.beside(entry)
    try:
        found = parts.ledger.submit(env_id, principal().user, contract, key, contract.digest, g.request_id, line)
    except NeverFits as error:
        raise _impossible(contract, error) from None
    auditing.note(found.id, name=found.name)
    if found.id == env_id:
        auditing.written(entry, line[2])
    return found


def as_seen(env_id: str) -> Environment | None:
    """The version that the caller's If-Match names, None for any. Raises NotFound, Refused (412)."""
    found = owned(env_id)
    conditions.require(wire.etag(found))
    return found if conditions.named() else None


def _answer(found: Environment, status: int) -> Response:
    response = jsonify(wire.environment(found))
    response.status_code = status
    response.set_etag(wire.etag(found))
    if status == 202:
        response.headers["Location"] = f"{wire.ROOT}/environments/{found.id}"
    return response


def _impossible(contract: Contract, never: NeverFits) -> ContractError:
    """What could never start: each amount above what the nearest could give; without one all of it, or its system."""
    most, wanted, over = never.nearest, contract.resources, never.quota.split(", ")
    if most is None and never.quota:
        return ContractError([Problem("resources", f"is over your quota of {never.quota}. {MORE}")])
    if most is None:
        problem = systems.missing(contract, services().ledger.hosts())
        return ContractError([Problem("os", f"{problem or 'No host makes this system.'} Or {WAIT}")])
    amounts = [
        ("cpu", "CPU", wanted.cpu_milli > most["cpu_milli"], f"{units.human_cpu(most['cpu_milli'])} cores"),
        ("ram", "RAM", wanted.ram_mib > most["ram_mib"], units.human_mib(most["ram_mib"])),
        ("storage", "storage", wanted.storage_mib > most["storage_mib"], units.human_mib(most["storage_mib"])),
        ("gpu", "GPUs", wanted.gpus.count > most["gpus"], f"{most['gpus']} such GPUs"),
    ]
    advice = f"Ask for that, or {WAIT}"
    return ContractError(
        [
            Problem(
                f"resources.{name}",
                f"is more than your quota lets you hold; {has} could be had. {MORE}"
                if word in over
                else f"is more than any host could ever give; the nearest one has {has}. {advice}",
            )
            for name, word, short, has in amounts
            if short
        ]
        or [Problem("resources", f"fit no host of this installation. {advice}")]
    )


def _changed(found: Environment, seconds: float) -> Environment:
    before, until = wire.etag(found), time.monotonic() + seconds
    with services().openings.one(principal().user), services().feed.watch(found.id) as wake:
        while True:
            wake.clear()
            found = services().ledger.get(found.id)
            left = until - time.monotonic()
            if wire.etag(found) != before or left <= 0:
                return found
            wake.wait(min(left, LOOK_AGAIN_SECONDS))


def _owner() -> str | None:
    wanted = request.args.get("owner", "")
    if principal().admin:
        return wanted or None
    if wanted not in ("", principal().user):
        raise Refused(403, "Only admins list other users' environments. Leave `owner` out.")
    return principal().user


def _states() -> tuple[State, ...]:
    words = [word for value in request.args.getlist("state") for word in value.split(",") if word]
    for word in words:
        if word not in tuple(State):
            raise Refused(400, f"state is {word[:40]!r}; it is one or some of {', '.join(State)}.")
    return tuple(State(word) for word in words)
