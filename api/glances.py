"""Looks at an environment that find what the one before found: Redis says in a short word whether anything changed, and
where nothing did, what was answered then is answered again.

Nothing is remembered in place of asking. The ledger's `glance` is a digest of the environment as it is now, its place
in the queue, and the records of the caller's token and account, so that a token that was revoked ends at once. An
answer is kept beside the digest that was read before it was made: what changes meanwhile is seen at the next look.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flask import g, request

from api import metrics
from api.auth import principal
from api.services import Services
from api.together import packed
from common import ids
from common.environment import Environment
from common.errors import TooMany

MOST_KEPT = 2000
MOST_BYTES = 8192  # of a body that is kept
KEEP_SECONDS = 60.0  # then the long way once, which notes when a token was last used

_PATH = re.compile(rf"/api/v1/environments/{ids.PATTERN.pattern}", re.ASCII)
_ROUTE = "/api/v1/environments/<env_id>"
_REPEATABLE = "dcloud.repeatable"  # in a request's environ: the command that asks for its digest, the user, until when


@dataclass
class _Answer:
    """What was answered, for as long as the digest is the same."""

    command: bytes  # that asks for the digest, as it goes over the wire
    user: str
    until: float  # seconds since the epoch
    digest: str  # "" is none yet
    status: str
    headers: list[tuple[str, str]]
    body: list[bytes]


class Glances:
    """WSGI middleware before the application."""

    def __init__(self, wsgi_app: Any, parts: Services):
        self._app = wsgi_app
        self._together = parts.together
        self._rates = parts.rates
        self._known: OrderedDict[tuple[bytes, str, str], _Answer] = OrderedDict()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        key = _key(environ)
        if key is None:
            return self._app(environ, start_response)  # type: ignore[no-any-return]
        began, digest, known = time.monotonic(), "", self._known.get(key)
        if known and time.time() < known.until:
            digest = self._together.ask(known.command) or ""
            if digest and digest == known.digest and self._may(known.user):
                metrics.count("GET", _ROUTE, int(known.status[:3]), began)
                request_id = ids.of_request(environ.get("HTTP_X_REQUEST_ID", ""))
                start_response(known.status, [*known.headers, ("X-Request-Id", request_id)])
                return known.body
        return self._learn(key, digest, environ, start_response)

    def _may(self, user: str) -> bool:
        """Count the request; where there were too many the application says so."""
        try:
            self._rates.spend(user)
        except TooMany:
            return False
        return True

    def _learn(self, key: Any, digest: str, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Let the application answer, and keep what may be said again."""
        said: list[Any] = []

        def begin(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            said[:] = status, headers
            return start_response(status, headers, *error)

        parts = self._app(environ, begin)
        repeatable = environ.get(_REPEATABLE)
        if repeatable is None or said[0][:3] not in ("200", "304"):
            self._known.pop(key, None)
            return parts  # type: ignore[no-any-return]
        body = list(parts)
        parts.close()
        if sum(map(len, body)) <= MOST_BYTES:
            headers = [(name, value) for name, value in said[1] if name != "X-Request-Id"]
            command, user, until = repeatable
            self._known[key] = _Answer(command, user, until, digest, said[0], headers, body)
            self._known.move_to_end(key)
            if len(self._known) > MOST_KEPT:
                self._known.popitem(last=False)
        return body


def repeatable(found: Environment, parts: Services) -> None:
    """Let the answer to the current request be given again while nothing changes. It says nothing but `found`."""
    caller = principal()
    if not caller.token_id or "Authorization" not in request.headers or g.get("anothers", False):
        return  # a look at what is another's is a line in the audit log
    question = parts.ledger.glancing(found.id, parts.keys.api_token(caller.token_id), parts.keys.user(caller.user))
    command = packed(*question.command)
    until = min(time.time() + KEEP_SECONDS, caller.expires_at or float("inf"))
    request.environ[_REPEATABLE] = (command, caller.user, until)


def _key(environ: dict[str, Any]) -> tuple[bytes, str, str] | None:
    """Under what an answer is kept; None for other requests than a plain look at an environment."""
    path: str = environ["PATH_INFO"]
    if environ["REQUEST_METHOD"] != "GET" or not _PATH.fullmatch(path):
        return None
    if environ.get("QUERY_STRING") or "HTTP_AUTHORIZATION" not in environ:
        return None
    if "HTTP_PREFER" in environ or "HTTP_IF_MATCH" in environ:
        return None
    caller = hashlib.sha256(environ["HTTP_AUTHORIZATION"].encode()).digest()  # no secret stays in memory
    return caller, path, environ.get("HTTP_IF_NONE_MATCH", "")
