"""Logs: of the build, kept in Redis, and of the container, asked of the worker that has it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from api import bodies, remote, streams
from api.auth import owned, principal
from api.openapi.described import AFTER, described, flag, parameter
from api.problems import Refused
from api.services import Services, services
from common.buildlog import Line
from common.channel import ClientEnd
from common.environment import Environment
from common.errors import ChannelClosed, NotFound, RedisUnavailable
from common.states import State

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

blueprint = Blueprint("logs", __name__)

PAGE_LINES = 1000
TAIL_LINES = 1000
FOLLOW_SECONDS = 6 * 3600.0  # plain text has no ids to come back with, so it lives longer than an event stream
LOOK_SECONDS = 0.5  # a line of the log is no event, so nothing wakes for it

STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z", re.ASCII)
FIRST_YEAR = 1971  # the engine counts from 1970

_MAKING = frozenset({State.QUEUED, State.CLAIMED, State.BUILDING, State.STARTING})
_PLAIN = "text/plain; charset=utf-8"


@blueprint.get("/environments/<env_id>/logs")
@described(
    "Text",
    answer_types=("text/plain",),
    parameters=(
        parameter("source", "which log", type="string", enum=["build", "container"], default="build"),
        flag("follow", "go on as lines come"),
        AFTER,
        parameter(
            "tail", "the last lines of a container", type="integer", minimum=1, maximum=100_000, default=TAIL_LINES
        ),
        flag("timestamps", "each line of a container behind the moment at which it was written"),
        parameter("since", "only lines of a container after this moment, as `timestamps` gives it", type="string"),
    ),
    refuses=(409,),
)
def logs(env_id: str) -> Response:
    """`source=build` (after `after`) or `container` (the last `tail` lines), with `follow` as it comes."""
    found, source = owned(env_id), request.args.get("source", "build")
    if source == "build":
        return streams.live(_build(services(), found.id, streams.resume_after(), bodies.flag("follow")), _PLAIN)
    if source == "container":
        return _container(found)
    raise Refused(400, f"source is {source[:40]!r}; it is build or container.")


def _build(parts: Services, env_id: str, after: str, follow: bool) -> Iterator[str]:
    until = time.monotonic() + FOLLOW_SECONDS
    while True:
        making = follow and _is_making(parts, env_id)  # asked before reading, so that the last lines are read too
        while lines := _lines(parts, env_id, after):
            after = lines[-1].id
            yield "".join(f"{line.text}\n" for line in lines)
        if not making or time.monotonic() > until:
            return
        time.sleep(LOOK_SECONDS)


def _lines(parts: Services, env_id: str, after: str) -> list[Line]:
    return parts.build_log.read(env_id, after, PAGE_LINES)


def _is_making(parts: Services, env_id: str) -> bool:
    try:
        return parts.ledger.get(env_id).state in _MAKING
    except (NotFound, RedisUnavailable):
        return False


def _container(found: Environment) -> Response:
    tail = bodies.number("tail", TAIL_LINES, 1, 100_000)
    services().openings.check(principal().user)  # before the host begins to send
    wanted = {"follow": bodies.flag("follow"), "timestamps": bodies.flag("timestamps"), "since": _since()}
    end = remote.ask(found, "logs", tail=tail, **wanted)
    answer = streams.live(_output(end, request.environ), _PLAIN)
    answer.call_on_close(end.close)  # of a HEAD nothing is read, so `_output` does not even begin
    return answer


def _since() -> str:
    text = request.args.get("since", "")
    try:
        valid = not text or (STAMP.fullmatch(text) and datetime.fromisoformat(text[:19]).year >= FIRST_YEAR)
    except ValueError:  # as of February 30
        valid = False
    if not valid:
        raise Refused(400, "since is a moment as timestamps=1 gives it, as in 2026-01-31T23:59:59.123456789Z.")
    return text


def _output(end: ClientEnd, environ: WSGIEnvironment) -> Iterator[bytes]:
    after, until = "0", time.monotonic() + FOLLOW_SECONDS
    try:
        while time.monotonic() < until and not streams.hung_up(environ):
            for output in end.read(after):
                after = output.id
                if output.kind == "error":
                    yield b"\n" + output.data + b"\n"
                elif output.kind == "out":
                    yield output.data
                if output.last:
                    return
    except ChannelClosed:
        return
