"""Where the API begins: what there is, for whoever comes without its documentation."""

from __future__ import annotations

from flask import Blueprint, Response

from api import conditions, wire
from api.openapi.described import IF_NONE_MATCH, described

blueprint = Blueprint("index", __name__)

LISTS = ("environments", "hosts", "templates", "webhooks", "tokens", "users", "audit")


@blueprint.get("")
@described("Index", parameters=(IF_NONE_MATCH,), headers=("ETag",), also={304: "it did not change"})
def index() -> Response:
    """Where everything is."""
    others = {name: f"{wire.ROOT}/{name}" for name in (*LISTS, "catalog", "quota", "login")}
    beside = {"me": f"{wire.ROOT}/users/me", "openapi": f"{wire.ROOT}/openapi.json", "docs": "/docs"}
    return conditions.answer({"version": "1", "links": {"self": wire.ROOT, **others, **beside}})
