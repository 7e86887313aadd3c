"""The history of an environment, as a whole and live."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Blueprint, Response, jsonify

from api import metrics, paging, streams, wire
from api.auth import owned
from api.openapi.described import AFTER, CURSOR, JSON, LAST_EVENT_ID, described, parameter
from api.services import Services, services
from common.environment import Event
from common.errors import NotFound, RedisUnavailable
from common.states import ENDED

blueprint = Blueprint("events", __name__)

READ_AT_ONCE = 1000


@blueprint.get("/environments/<env_id>/events")
@described(
    "Events",
    answer_types=(JSON, "text/event-stream"),
    parameters=(
        AFTER,
        LAST_EVENT_ID,
        parameter("limit", "how many at most", type="integer", minimum=1, maximum=100, default=100),
        CURSOR,
    ),
    also={204: "nothing will follow"},
)
def events(env_id: str) -> Response:
    """The events after `after` (or Last-Event-ID): a page of them as JSON, or live by server-sent events."""
    found, after = owned(env_id), paging.after(streams.STREAM_ID) or streams.resume_after()
    if not streams.wanted():
        most = paging.limit(paging.PAGE_LIMIT)
        some = services().ledger.events(found.id, after, most + 1)
        following = some[most - 1].id if len(some) > most else ""
        return jsonify({"events": [wire.event(e) for e in some[:most]], "next": paging.cursor(following)})
    if found.state in ENDED and after != "0" and not services().ledger.events(found.id, after, 1):
        return Response(status=204)  # tells a browser not to come back
    return streams.response(_live(services(), found.id, after))


def _live(parts: Services, env_id: str, after: str) -> Iterator[str]:
    yield streams.OPENING
    until, quiet_since = time.monotonic() + streams.LIFE_SECONDS, time.monotonic()
    with metrics.WATCHERS.track_inprogress(), parts.feed.watch(env_id) as wake:
        woken = False
        while time.monotonic() < until:
            wake.clear()
            for event in _after(parts, env_id, after, woken):
                after, quiet_since = event.id, time.monotonic()
                yield streams.message(wire.event(event), event.id, "state")
                if event.state in ENDED and _is_over(parts, env_id, after):
                    yield streams.message({}, event="end")
                    return
            if time.monotonic() - quiet_since >= streams.PING_SECONDS:
                quiet_since = time.monotonic()
                yield streams.PING
            woken = wake.wait(max(0.0, min(streams.PING_SECONDS, until - time.monotonic())))


def _after(parts: Services, env_id: str, after: str, woken: bool) -> list[Event]:
    def read() -> list[Event]:
        return parts.ledger.events(env_id, after, READ_AT_ONCE)

    try:
        return parts.feed.shared(env_id, after, read) if woken else read()
    except RedisUnavailable:
        return []  # the feed wakes everyone when Redis is back


def _is_over(parts: Services, env_id: str, after: str) -> bool:
    """Whether nothing can follow the event `after`, which ended the environment."""
    try:
        return parts.ledger.get(env_id).state in ENDED and not parts.ledger.events(env_id, after, 1)
    except NotFound:
        return True
    except RedisUnavailable:
        return False
