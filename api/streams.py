"""Server-sent events: what a live answer looks like and how long it lives."""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from flask import Response, request

from api import auth
from api.problems import Refused
from api.services import services

LIFE_SECONDS = 600.0  # then the stream ends and the client comes back with its last id
PING_SECONDS = 15.0
LOOK_SECONDS = 60.0  # between two looks at whether whoever reads still may
PING = ": ping\n\n"
OPENING = "retry: 2000\n\n"

STREAM_ID = re.compile(r"[0-9]{1,19}(-[0-9]{1,19})?", re.ASCII)


def wanted() -> bool:
    """Whether the client asks for server-sent events."""
    return request.accept_mimetypes.best_match(["application/json", "text/event-stream"]) == "text/event-stream"


def resume_after() -> str:
    """The id after which the client wants to go on, "0" from the beginning. Raises Refused."""
    text = request.headers.get("Last-Event-ID") or request.args.get("after") or "0"
    if not STREAM_ID.fullmatch(text):
        raise Refused(400, "Last-Event-ID and after take an id that this stream gave, or 0.")
    return text


def hung_up(environ: Mapping[str, Any]) -> bool:
    """Whether the client has gone. A text in which nothing new comes has nothing to write that would find it out."""
    connection = environ.get("gunicorn.socket")
    if connection is None or not select.select([connection], [], [], 0)[0]:
        return False
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except (OSError, ValueError):  # reset; TLS cannot be looked into
        return not isinstance(connection, ssl.SSLSocket)


def message(data: object, entry_id: str = "", event: str = "") -> str:
    """One event; `data` becomes one line of JSON."""
    head = (f"id: {entry_id}\n" if entry_id else "") + (f"event: {event}\n" if event else "")
    return f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n"


def response(parts: Iterable[str]) -> Response:
    """The answer that sends `parts` as they come, past any buffering proxy."""
    return live(parts, "text/event-stream")


def live(parts: Iterable[str] | Iterator[bytes], content_type: str) -> Response:
    """An answer without a length, sent as it comes. Raises TooMany where the caller has enough of them open."""
    openings, user = services().openings, auth.principal().user
    openings.begin(user)
    answer = Response(
        _while_allowed(parts, auth.lasting()),
        content_type=content_type,
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )
    answer.call_on_close(lambda: openings.end(user))
    return answer


def _while_allowed(parts: Any, lasts: Callable[[], bool]) -> Iterator[Any]:
    """`parts` until the token was revoked, the session has ended or the account lost its rights."""
    looked = time.monotonic()
    with closing(parts):
        for part in parts:
            if time.monotonic() - looked >= LOOK_SECONDS:
                if not lasts():
                    return
                looked = time.monotonic()
            yield part
