"""What a route says of itself for the OpenAPI document, as a decorator; its summary is its docstring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from marshmallow import Schema

View = TypeVar("View", bound=Callable[..., Any])
Json = dict[str, Any]

JSON = "application/json"
UPLOAD = "multipart/form-data"
CONTRACT_TYPES = (JSON, "application/yaml", "application/toml", UPLOAD)


@dataclass(frozen=True)
class Operation:
    """What a route takes and gives, beside what its address and its rights say."""

    answer: str | None  # the name of a component; None is an empty answer
    status: int = 200
    body: str | type[Schema] | None = None  # the name of a component, or the schema that reads it
    body_types: tuple[str, ...] = (JSON,)
    body_required: bool = True
    answer_types: tuple[str, ...] = (JSON,)
    parameters: tuple[Json, ...] = ()  # of query and headers
    headers: tuple[str, ...] = ()  # of the answer: names of components
    refuses: tuple[int, ...] = ()  # beside those that every route may answer
    example: Any = None  # of the body
    also: dict[int, str] = field(default_factory=dict)  # other successes, each in words


def described(answer: str | None, status: int = 200, **what: Any) -> Callable[[View], View]:
    """Say what a view gives, and by keyword whatever else an `Operation` has."""

    def decorate(view: View) -> View:
        view.described = Operation(answer, status, **what)  # type: ignore[attr-defined]
        return view

    return decorate


def parameter(name: str, meaning: str, place: str = "query", **schema: Any) -> Json:
    """A parameter that may be left out; a string unless the schema says otherwise."""
    return {"name": name, "in": place, "description": meaning, "schema": schema or {"type": "string"}}


LIMIT = parameter("limit", "how many at most", type="integer", minimum=1, maximum=100, default=50)
CURSOR = parameter("cursor", "where the page before ended, as its `next` says; only what this server gave")
AFTER = parameter("after", "the id after which to go on; 0 is the beginning", pattern="^([0-9]{1,20}(-[0-9]{1,20})?)?$")
LAST_EVENT_ID = parameter("Last-Event-ID", "as `after`", "header", pattern="^([0-9]{1,20}(-[0-9]{1,20})?)?$")
PREFER = parameter("Prefer", "`wait=25`: answer after a change, or so many seconds (at most 60)", "header")
IF_MATCH = parameter("If-Match", "an `ETag`: change only this version", "header")
IF_NONE_MATCH = parameter("If-None-Match", "an `ETag`: 304 where it still is this version", "header")
IDEMPOTENCY_KEY = parameter(
    "Idempotency-Key",
    "makes a repeated call safe for a day, a submit as long as its environment is known",
    "header",
    type="string",
    pattern="^[ -~]{0,200}$",
)
PAGED = (LIMIT, CURSOR)


def flag(name: str, meaning: str) -> Json:
    """A parameter that is true or false."""
    return parameter(name, meaning, type="boolean", default=False)
