"""What a client may take its time for: a body arrives in time and in the form that its headers say, or the request is
refused; and an answer is read, or the connection ends.

Gunicorn gives a client 15 seconds for its headers but any time for a body and for reading, so that a few thousand
clients who each send half of one, or watch and never read, would keep everybody else out.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import gevent

from api.problems import Refused

BODY_SECONDS = 20.0  # for all of it: at most 80 KiB
SEND_SECONDS = 30.0  # for what is sent at once; more than BODY_SECONDS, for a socket has one time for both ways
ENDED = "The body ended early, or is not in the form that its headers say."


class InTime:
    """WSGI middleware that puts a clock beside each body, and beside each piece of an answer."""

    def __init__(self, wsgi_app: Any, send_seconds: float = SEND_SECONDS):
        self._app = wsgi_app
        self._send_seconds = send_seconds

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if "gunicorn.socket" in environ:  # else it is all there already
            environ["wsgi.input"] = Arriving(environ["wsgi.input"], int(environ.get("CONTENT_LENGTH") or 0))
            environ["gunicorn.socket"].settimeout(self._send_seconds)
        return self._app(environ, start_response)


def one_line(record: logging.LogRecord) -> bool:
    """Filter of gunicorn's log: who does not read is no defect, and costs a line rather than a traceback."""
    if record.exc_info and isinstance(record.exc_info[1], TimeoutError):
        record.exc_info, record.levelno, record.levelname = None, logging.INFO, "INFO"
        record.msg, record.args = "A client did not read its answer in time and was hung up on.", ()
    return True


class Arriving:
    """A body that may come late, or not as it was announced; the clock starts with the first look at it."""

    def __init__(self, body: Any, length: int):
        self._body = body
        self._missing = length  # 0 where it comes in chunks
        self._until: float | None = None

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, b"" at the end. Raises Refused. The framework uses nothing else of a body."""
        data = self._in_time(size)
        self._missing -= len(data)
        if not data and size and self._missing > 0:  # half a contract may well be another contract
            raise Refused(400, ENDED)
        return data

    def _in_time(self, size: int) -> bytes:
        if self._until is None:
            self._until = time.monotonic() + BODY_SECONDS
        late = gevent.Timeout(max(self._until - time.monotonic(), 0.001))
        try:
            with late:
                return bytes(self._body.read() if size < 0 else self._body.read(size))
        except gevent.Timeout as timeout:
            if timeout is not late:
                raise
            raise Refused(408, f"The body did not arrive within {BODY_SECONDS:.0f} seconds. Send it again.") from None
        except Exception:  # gunicorn's own, of several kinds
            raise Refused(400, ENDED) from None
