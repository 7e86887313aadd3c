"""What clients send: contracts in three formats, JSON objects, and query parameters. Nothing is trusted."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

from flask import Flask, g, request
from marshmallow import ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from api.openapi.described import CONTRACT_TYPES, JSON
from api.problems import Refused, not_read
from common import contract, documents
from common.contract import Contract
from common.errors import ContractError, NotFound, Problem
from common.fields import Strict, problems
from common.templates import filled

MAX_KEY = 200
MAX_WAIT_SECONDS = 60
SHORT_BYTES = 4096  # of a body whose contract is kept in memory

_TRUE, _FALSE = ("", "1", "true", "yes"), ("0", "false", "no")
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,4})", re.ASCII | re.IGNORECASE)


def register(app: Flask) -> None:
    """Refuse bodies that would have to be unpacked first: a few bytes may be gigabytes."""
    app.before_request(_refuse_packed)


def submitted_contract(template: Callable[[str], dict[str, Any]]) -> Contract:
    """The contract in the body or in the one uploaded file. Raises ContractError, Refused.

    Where it names a template, `template` gives that one's contract, or raises NotFound.
    """
    body, kind = _body()
    known = _contract_of(body, kind) if len(body) <= SHORT_BYTES else None
    if known is not None:
        return known
    document = documents.load(body, kind)
    if isinstance(document, dict) and "template" in document:
        rest = {key: value for key, value in document.items() if key != "template"}
        document = filled(_named(document["template"], template), rest)
    return contract.parse(document)


def _named(name: object, template: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    if not isinstance(name, str):
        raise ContractError([Problem("template", "must be a string.")])
    try:
        return template(name) if name else {}
    except NotFound as error:
        raise ContractError([Problem("template", f"{error} `GET /templates` lists those that there are.")]) from None


def json_object() -> dict[str, Any]:
    """The JSON object in the body, or what a page says instead. Raises ContractError, Refused."""
    if "said_instead" in g:
        return cast(dict[str, Any], g.said_instead)
    if documents.format_of(request.mimetype) != "json":
        raise not_read(f"{request.mimetype[:80]!r} is not read here. Send JSON as {JSON}.", [JSON])
    body = documents.load(_read(), "json")
    if not isinstance(body, dict):
        raise ContractError([Problem("", "must be an object.")])
    return body


def given() -> bool:
    """Whether there is a body, or a page says something instead."""
    return "said_instead" in g or bool(request.get_data())


def load(schema: type[Strict]) -> dict[str, Any]:
    """The JSON object in the body, as a schema reads it. Raises ContractError with all problems, Refused."""
    try:
        return cast(dict[str, Any], schema().load(json_object()))
    except ValidationError as error:
        raise ContractError(sorted(problems(error.messages), key=lambda p: p.path)) from None


def instead(document: dict[str, Any]) -> None:
    """Let `json_object` give this: what a page's form means, so that a page does what the API does."""
    g.said_instead = document


def idempotency_key() -> str:
    """The header's value, "" where there is none. Raises Refused."""
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > MAX_KEY or not key.isascii() or not key.isprintable():
        raise Refused(400, f"Idempotency-Key has at most {MAX_KEY} printable ASCII characters; a UUID is a good one.")
    return key


def preferred_wait() -> int:
    """For how many seconds the caller would wait (`Prefer: wait=25`); 0 where they do not say."""
    wanted = _WAIT.search(request.headers.get("Prefer", ""))
    return min(int(wanted[1]), MAX_WAIT_SECONDS) if wanted else 0


def number(name: str, default: int, low: int, high: int) -> int:
    """A whole number from the query string. Raises Refused."""
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high):
        raise Refused(400, f"{name} is {text[:40]!r}; it is a whole number between {low} and {high}.")
    return int(text)


def flag(name: str) -> bool:
    """Whether a query parameter is set: `?follow`, `?follow=1` or `?follow=true`. Raises Refused for other words."""
    text = request.args.get(name, "false").lower()
    if text not in _TRUE + _FALSE:
        raise Refused(400, f"{name} is {text[:40]!r}; it is true or false.")
    return text in _TRUE


def _refuse_packed() -> None:
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity"):
        refused = Refused(415, f"A body is read as it is, and not unpacked: send it without {coding[:40]!r}.")
        refused.headers = {"Accept-Encoding": "identity"}
        raise refused


@lru_cache(maxsize=500)
def _contract_of(body: bytes, kind: str) -> Contract | None:
    """The contract in a body, read once for all who send the same; None where it names a template, which may change."""
    document = documents.load(body, kind)
    return None if isinstance(document, dict) and "template" in document else contract.parse(document)


def _body() -> tuple[bytes, str]:
    """What was sent, or the one file that was uploaded, and how it is written."""
    if request.mimetype == "multipart/form-data":
        files = list(request.files.values())
        if len(files) != 1:
            raise Refused(400, f"Upload one file with a contract; this form has {len(files)}.")
        return _short(files[0].read()), _kind(files[0].mimetype, files[0].filename or "")
    kind = _kind(request.mimetype, "")
    return _read(), kind


def _read() -> bytes:
    return _short(request.get_data(cache=False))


def _short(body: bytes) -> bytes:
    # the framework's own limit leaves room for the frame of an upload
    if len(body) > documents.MAX_BYTES:
        raise RequestEntityTooLarge
    return body


def _kind(media_type: str, file_name: str) -> str:
    kind = documents.format_of(media_type, file_name)
    if not kind:
        raise not_read(
            f"{(media_type or 'This file')[:80]!r} is not read here. Send JSON, YAML or TOML with a Content-Type of "
            "application/json, application/yaml or application/toml.",
            CONTRACT_TYPES,
        )
    return kind
