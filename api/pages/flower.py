"""Flower, for admins: what it is, and its own pages, which the API fetches for those who may see them."""

from __future__ import annotations

import base64
import hashlib
import re

from flask import Response, request

from api import auth
from api import flower as way
from api.pages.assets import DAY_SECONDS
from api.pages.blueprint import blueprint, page
from api.services import services
from common.errors import NotFound

# What its pages are made of. Its API, by which workers are ended and tasks sent, is no part of them.
PAGES = re.compile(r"|workers|tasks|broker|api/workers|(worker|task)/[\w.@:-]{1,200}", re.ASCII)
FILES = re.compile(r"(\w[\w.-]*/)*\w[\w.-]*", re.ASCII)

# the one script that stands in a page of Flower's (workers.html); all others are files
_SCRIPT = b"\nvar autorefresh = 1;\n"
_HASH = base64.b64encode(hashlib.sha256(_SCRIPT).digest()).decode()
POLICY = (
    f"default-src 'none'; script-src 'self' 'sha256-{_HASH}'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@blueprint.get("/flower")
@auth.admin
def flower() -> Response:
    """What it is, and the way to it."""
    settings = services().settings
    return page("flower.html", bind=settings.flower_bind, answers=way.answers(settings), away=way.AWAY)


@blueprint.get("/flower/")
@blueprint.get("/flower/<path:at>")
@auth.admin
def flower_page(at: str = "") -> Response:
    """A page of Flower, or what its scripts ask for."""
    if not PAGES.fullmatch(at):
        raise NotFound("Flower has no such page here.")
    return _handed_on(at)


@blueprint.post("/flower/tasks/datatable")
@auth.admin
@auth.by_origin
def flower_tasks() -> Response:
    """The rows of its table of tasks: too long a question for an address, so its page sends a POST."""
    return _handed_on("tasks/datatable", request.get_data())


@blueprint.get("/flower/static/<path:filename>")
@auth.admin
def flower_file(filename: str) -> Response:
    """One of its scripts and styles."""
    if not FILES.fullmatch(filename):
        raise NotFound("Flower has no such file.")
    response = _handed_on(f"static/{filename}")
    if response.status_code in (200, 304):
        response.headers["Cache-Control"] = f"private, max-age={DAY_SECONDS}"
    return response


def _handed_on(at: str, body: bytes = b"") -> Response:
    response = way.ask(services().settings, at, request.query_string.decode("ascii", "replace"), request.headers, body)
    response.headers["Content-Security-Policy"] = POLICY
    return response
