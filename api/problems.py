"""Every error as RFC 9457 `application/problem+json`, of one shape.

type       urn:dcloud:problem:<slug>, stable; `Link` leads to its line in /docs/problems
title      the kind, in words
status     the HTTP status
detail     what happened and what to do next
instance   urn:dcloud:request:<id>, the id that is also in X-Request-Id and in the server's log
errors     where a document was refused: a list of {"path", "message"}
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping

from flask import Flask, Response, g, request
from redis import RedisError
from werkzeug.exceptions import HTTPException

from api.problem_types import PAGE, type_of
from common.errors import (
    Changed,
    ChannelClosed,
    ChannelFull,
    Conflict,
    ContractError,
    DCloudError,
    IllegalTransition,
    NotFound,
    Problem,
    RedisUnavailable,
    Taken,
    TooMany,
    Unsuitable,
)
from common.lines import escaped

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 2


class Refused(DCloudError):
    """A request that the API itself refuses, with the HTTP status."""

    def __init__(self, status: int, detail: str, errors: list[Problem] | None = None):
        self.status = status
        self.errors = errors or []
        self.headers: Mapping[str, str] = {}
        super().__init__(detail)


def not_read(detail: str, types: Iterable[str]) -> Refused:
    """A body of a type that is not read here (415); `types` are those that are."""
    refused, accepted = Refused(415, detail), ", ".join(types)
    name = {"POST": "Accept-Post", "PATCH": "Accept-Patch"}.get(request.method, "Accept")
    refused.headers = {name: accepted}
    return refused


def problem(
    status: int, detail: str, errors: list[Problem] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The response for an error."""
    kind = type_of(status)
    body: dict[str, object] = {
        "type": kind.urn,
        "title": kind.title,
        "status": status,
        "detail": escaped(detail),  # it may repeat what somebody sent
        "instance": f"urn:dcloud:request:{g.get('request_id', '')}",
    }
    headers = {"Link": f'<{PAGE}#{kind.slug}>; rel="help"', **(headers or {})}
    if status == 401:
        headers = {"WWW-Authenticate": "Bearer", **headers}
    if errors:
        body["errors"] = [{"path": error.path, "message": error.message} for error in errors]
    return Response(json.dumps(body), status, headers, content_type="application/problem+json")


def register(app: Flask) -> None:
    """Answer every error of `app` in this shape."""
    app.register_error_handler(Refused, lambda e: problem(e.status, str(e), e.errors, e.headers))
    app.register_error_handler(ContractError, _contract)
    app.register_error_handler(NotFound, lambda e: problem(404, str(e)))
    app.register_error_handler(IllegalTransition, lambda e: problem(409, str(e)))
    app.register_error_handler(Changed, lambda e: problem(412, f"{e}."))
    app.register_error_handler(Conflict, lambda e: problem(422, str(e)))
    app.register_error_handler(ChannelClosed, lambda e: problem(410, str(e)))
    app.register_error_handler(ChannelFull, lambda e: _later(429, str(e)))
    app.register_error_handler(TooMany, lambda e: _later(429, str(e), e.retry_after_seconds))
    app.register_error_handler(Taken, lambda e: problem(409, str(e)))
    app.register_error_handler(Unsuitable, lambda e: problem(409, str(e)))
    app.register_error_handler(RedisUnavailable, _redis_away)
    app.register_error_handler(RedisError, _redis_away)
    app.register_error_handler(DCloudError, lambda e: problem(400, str(e)))
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _internal)


def _contract(error: ContractError) -> Response:
    count = len(error.problems)
    detail = str(error) if count == 1 else f"The document has {count} problems; each is listed with its path."
    return problem(422, detail, error.problems)


def _later(status: int, detail: str, seconds: int = RETRY_AFTER_SECONDS) -> Response:
    return problem(status, detail, headers={"Retry-After": str(seconds)})


def _redis_away(error: Exception) -> Response:
    log.error("request %s: Redis: %s", g.get("request_id", ""), error)
    return _later(
        503, "The store behind the API does not answer. Try again in a moment; what was asked for may have been done."
    )


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:
        return Response(status=status, headers=[(k, v) for k, v in error.get_headers() if k == "Location"])
    # Content-Type and what else describes werkzeug's own page stays out
    kept = {name: value for name, value in error.get_headers() if name in ("Allow", "WWW-Authenticate", "Retry-After")}
    details = {
        404: "There is nothing at this address. The API begins at /api/v1; docs/api.md lists it.",
        405: f"Use {kept.get('Allow', 'another method')}.",
        413: "The body is larger than is accepted here. A contract has at most 64 KiB.",
    }
    return problem(status, details.get(status, error.description or ""), headers=kept)


def _internal(error: Exception) -> Response:
    log.error("request %s failed", g.get("request_id", ""), exc_info=error)
    return problem(500, "The server's log has the details under the request id. Nothing else is known here.")
