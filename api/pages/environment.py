"""One environment: how far it is, how to get in, what happened, what it is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flask import Response

from api import wire
from api.auth import owned
from api.pages.blueprint import blueprint, page
from api.pages.charts import charts
from api.pages.words import MOVING, PHASES
from api.services import services
from common.environment import Environment, Event
from common.states import Phase, State

LOG_LINES = 400
EVENTS = 1000
MAKING = (State.CLAIMED, State.BUILDING, State.STARTING)


@dataclass(frozen=True)
class Step:
    """One of the steps under the bar; `state` is todo, now, done or failed."""

    title: str
    state: str


@blueprint.get("/environments/<env_id>")
def environment(env_id: str) -> Response:
    """The page of one environment."""
    found = owned(env_id)
    parts = services()
    events = parts.ledger.events(found.id, "0", EVENTS)
    contract = wire.document(found.contract)
    return page(
        "environment.html",
        e=found,
        steps=steps(found, events),
        timeline=timeline(events),
        last=events[-1].id if events else "0",
        log=parts.build_log.read(found.id, "0", 5000)[-LOG_LINES:],
        charts=charts(parts.stats.read(found.id), found.contract.resources),
        contract=json.dumps(contract, indent=2, ensure_ascii=False),
        why=parts.ledger.explain(found.id) if found.state is State.QUEUED else None,
        seconds=0.7 if found.state in MOVING else 5,
    )


def steps(e: Environment, events: list[Event]) -> list[Step]:
    """From waiting to running, each with how it stands."""
    titles = ["Waiting", *PHASES.values(), "Running"]
    at, now = _reached(e, events)
    return [Step(title, "done" if index < at else "todo" if index > at else now) for index, title in enumerate(titles)]


def timeline(events: list[Event]) -> list[Event]:
    """The events without those that only moved the bar."""
    shown: list[Event] = []
    for event in events:
        if shown and (event.state, event.phase) == (shown[-1].state, shown[-1].phase) and not event.reason:
            continue
        shown.append(event)
    return shown


def _reached(e: Environment, events: list[Event]) -> tuple[int, str]:
    if e.state is State.QUEUED:
        return 0, "now"
    if e.state in MAKING:
        return _phase(e.phase), "now"
    if e.state is State.FAILED:
        making = [event for event in events if event.state in MAKING]
        began = any(event.state is State.RUNNING for event in events)
        return (5, "failed") if began else (_phase(making[-1].phase) if making else 0, "failed")
    return 5, "done"


def _phase(name: str) -> int:
    return 1 + list(Phase).index(Phase(name)) if name else 1
