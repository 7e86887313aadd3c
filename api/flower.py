"""The way to Flower, which listens where no browser gets to and asks for a secret that the API has.

Of a request it gets the address, the body and what a cache asks for: no cookie, no token, no word of who asks. Of its
answer a browser gets what `KEPT` names, as it comes.
"""

from __future__ import annotations

import base64
import http.client
import time
from collections.abc import Iterator
from urllib.parse import quote

from flask import Response
from werkzeug.datastructures import Headers

from api.problems import Refused
from common import flower
from common.settings import Settings

EVERYWHERE = ("", "0.0.0.0", "[::]")  # noqa: S104 - compared with, not bound to
SILENT_SECONDS = 20.0  # it waits for a worker before it shows it (inspect_timeout in deploy/flower_conf.py)
WHOLE_SECONDS = 60.0
CHUNK_BYTES = 64 * 1024
ASKED = ("Accept", "Accept-Language", "Content-Type", "If-None-Match", "If-Modified-Since")
KEPT = ("Content-Type", "Content-Length", "ETag", "Last-Modified")
AWAY = "Flower does not answer. “make run” starts what has ended; its last words are in var/log/flower.log."
REFUSED = "What answers for Flower does not know the secret in var/flower.secret. Start Flower anew: “make run”."


def ask(settings: Settings, path: str, query: str = "", headers: Headers | None = None, body: bytes = b"") -> Response:
    """What Flower answers to a GET, or with a body to a POST, of `path` below its prefix. Raises Refused (503)."""
    connection = _connection(settings)
    given = base64.b64encode(flower.credentials(settings.var_dir).encode()).decode()
    sent = {name: headers[name] for name in ASKED if name in headers} if headers else {}
    target = f"/{flower.PREFIX}/{quote(path, safe='/@')}" + (f"?{query}" if query else "")
    try:
        connection.request("POST" if body else "GET", target, body or None, {**sent, "Authorization": f"Basic {given}"})
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException):
        connection.close()
        raise Refused(503, AWAY) from None
    if answer.status == 401:
        connection.close()
        raise Refused(503, REFUSED)
    response = Response(_pieces(answer), answer.status)
    response.call_on_close(connection.close)
    response.headers.clear()
    for name in KEPT:
        if (value := answer.headers.get(name)) is not None:
            response.headers[name] = value
    return response


def answers(settings: Settings) -> bool:
    """Whether it is there."""
    try:
        ask(settings, "healthcheck").close()
    except Refused:
        return False
    return True


def _connection(settings: Settings) -> http.client.HTTPConnection:
    name, _, port = settings.flower_bind.rpartition(":")
    host = "127.0.0.1" if name in EVERYWHERE else name.strip("[]")
    return http.client.HTTPConnection(host, int(port), timeout=SILENT_SECONDS)


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    until = time.monotonic() + WHOLE_SECONDS
    while piece := answer.read1(CHUNK_BYTES):
        yield piece
        if time.monotonic() > until:
            raise TimeoutError(f"Flower's answer took more than {WHOLE_SECONDS:.0f} s")
