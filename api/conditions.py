"""`ETag`, `If-None-Match` and `If-Match`: what did not change is not sent again, what did is not overwritten."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.datastructures import ETags

from api.openapi.described import IF_MATCH
from api.problems import Refused


def tag(body: Any) -> str:
    """The ETag of a body, without quotes; for what has no version of its own."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]


def answer(body: Any, status: int = 200, etag: str = "") -> Response:
    """`body` as JSON with its ETag; 304 to a GET that has it already."""
    response = jsonify(body)
    response.status_code = status
    response.set_etag(etag or tag(body))
    return conditional(response) if status == 200 else response


def conditional(response: Response) -> Response:
    """The answer to a GET as its conditions want it: 304 to who has it already. Raises Refused (412)."""
    if request.method in ("GET", "HEAD") and (request.if_match or request.if_none_match):
        require(response.get_etag()[0] or "")
        response.make_conditional(request)
    return response


def finish(response: Response) -> None:
    """Give a GET's JSON its ETag where the view gave none, and answer 304 to who has it."""
    whole = response.status_code == 200 and response.mimetype == "application/json" and not response.is_streamed
    if request.method in ("GET", "HEAD") and whole and "ETag" not in response.headers:
        response.add_etag()
        if not request.if_match:
            response.make_conditional(request)


def instead(etag: str) -> None:
    """Let If-Match be this: the version that a page's form was filled from, so that a page does what the API does."""
    g.seen_instead = ETags([etag])


def require(etag: str) -> None:
    """Raises Refused (412) where the caller's If-Match names another version than this one."""
    wanted = g.get("seen_instead") or request.if_match
    if wanted and not wanted.contains(etag):
        raise Refused(412, "It has changed since you looked. Look again, and repeat the call if it still makes sense.")


def named() -> bool:
    """Whether the caller's If-Match names versions: then one that changes after `require` must not be changed."""
    return bool(request.if_match) and not request.if_match.star_tag


def register(app: Flask) -> None:
    """Let no call of `app` that knows no versions act as if the caller's If-Match held."""
    app.before_request(_refuse_unknown)


def _refuse_unknown() -> None:
    if request.method in ("GET", "HEAD", "OPTIONS") or request.endpoint is None or not named():
        return
    said = getattr(current_app.view_functions[request.endpoint], "described", None)
    if said is None or IF_MATCH not in said.parameters:
        raise Refused(412, "Nothing here has a version that If-Match could name, so nothing was done. Leave it out.")
