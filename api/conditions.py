"""`ETag`, `If-None-Match` and `If-Match`: what did not change is not sent again, what did is not overwritten."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flask import Response, jsonify, request

from api.problems import Refused


def tag(body: Any) -> str:
    """The ETag of a body, without quotes; for what has no version of its own."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]


def answer(body: Any, status: int = 200, etag: str = "") -> Response:
    """`body` as JSON with its ETag; 304 to a GET that has it already."""
    response = jsonify(body)
    response.status_code = status
    response.set_etag(etag or tag(body))
    if status == 200 and request.method in ("GET", "HEAD"):
        response.make_conditional(request)
    return response


def finish(response: Response) -> None:
    """Give a GET's JSON its ETag where the view gave none, and answer 304 to who has it."""
    whole = response.status_code == 200 and response.mimetype == "application/json" and not response.is_streamed
    if request.method == "GET" and whole and "ETag" not in response.headers:
        response.add_etag()
        response.make_conditional(request)


def require(etag: str) -> None:
    """Raises Refused (412) where the caller's If-Match names another version than this one."""
    wanted = request.if_match
    if wanted and not wanted.contains(etag):
        raise Refused(412, "It has changed since you looked. Look again, and repeat the call if it still makes sense.")
