"""The document over HTTP, and the same for people to read, without anything from the internet."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template

from api.openapi.described import described
from api.openapi.document import document
from api.problem_types import OTHER, PAGE, TYPES

blueprint = Blueprint("openapi", __name__)


@blueprint.get("/api/v1/openapi.json")
@described("OpenApi")
def openapi() -> Response:
    """This document, OpenAPI 3.1."""
    return jsonify(_document())


@blueprint.get("/docs")
def docs() -> str:
    """The document as a page."""
    return render_template("docs.html", api=_document(), caller=None)


@blueprint.get(PAGE)
def problems() -> str:
    """Every kind of problem that the API may answer, with what to do."""
    return render_template("problems.html", kinds=[*TYPES.items(), ("", OTHER)], caller=None)


def _document() -> dict[str, Any]:
    known = current_app.extensions
    if "dcloud.openapi" not in known:
        known["dcloud.openapi"] = document(current_app)
    found: dict[str, Any] = known["dcloud.openapi"]
    return found
