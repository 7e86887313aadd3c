"""`Idempotency-Key` for calls that make something, beside `POST /environments`, whose key the ledger keeps itself.

  idempotent(user, key)   string   JSON: request (a hash of it), and once it is answered status, location, body

While the first call is under way a second one gets 409, later its answer again; with another request it gets 422. Where
the answer has a secret it is not kept, and the second call is told what the first one made. Calls that failed are
forgotten, so that the same key may be used once the mistake is mended.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from flask import Response, request

from api import bodies
from api.auth import principal
from api.problems import Refused
from api.services import services
from common.errors import Conflict, TooMany, Unsuitable

KEEP_SECONDS = 86400
UNDER_WAY_SECONDS = 60  # a call takes less; a process that died meanwhile blocks a key no longer
View = Callable[..., Response]


def idempotent(*, secret: bool = False) -> Callable[[View], View]:
    """Let a view answer a repeated call as it answered the first; `secret` is one whose answer must not be kept."""

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapped(**arguments: Any) -> Response:
            key = bodies.idempotency_key()
            return _once(key, secret, lambda: view(**arguments)) if key else view(**arguments)

        return wrapped

    return decorate


def _once(key: str, secret: bool, call: Callable[[], Response]) -> Response:
    redis, name = services().ledger.redis, services().keys.idempotent(principal().user, key)
    asked = hashlib.sha256(f"{request.method} {request.full_path} ".encode() + request.get_data()).hexdigest()
    if not redis.set(name, json.dumps({"request": asked}), nx=True, ex=UNDER_WAY_SECONDS):
        return _again(json.loads(cast(str, redis.get(name)) or "{}"), asked)
    try:
        response = call()
    except BaseException:
        redis.delete(name)
        raise
    if response.status_code >= 400:
        redis.delete(name)
        return response
    body = "" if secret else response.get_data(as_text=True)
    answered = {"request": asked, "status": response.status_code, "location": response.location, "body": body}
    redis.set(name, json.dumps(answered | {"secret": secret}), ex=KEEP_SECONDS)
    return response


def _again(first: dict[str, Any], asked: str) -> Response:
    if not first:
        raise TooMany("The first call with this Idempotency-Key just ended. Send it again.", 1)
    if first["request"] != asked:
        raise Conflict("This Idempotency-Key came with another request before. Use a new one.")
    if "status" not in first:
        refused = Refused(409, "The first call with this Idempotency-Key is still under way. Send it again.")
        refused.headers = {"Retry-After": "1"}
        raise refused
    if first["secret"]:
        raise Unsuitable(
            f"This call was answered before, with a secret that is shown once; it made {first['location']}."
        )
    response = Response(first["body"], first["status"], content_type="application/json")
    if first["location"]:
        response.headers["Location"] = first["location"]
    response.headers["Idempotency-Replayed"] = "true"
    return response
