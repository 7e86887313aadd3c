"""The one blueprint of the pages, and how each of them is answered."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, make_response, redirect, render_template, request

from api import session

blueprint = Blueprint("pages", __name__)


def page(template: str, status: int = 200, **values: Any) -> Response:
    """`template` for whoever asks; 304 where they have it already, so that a page may look often."""
    caller = g.get("principal") or session.current()
    response = make_response(render_template(template, caller=caller, csrf=session.csrf(), **values), status)
    if status == 200 and request.method == "GET":
        response.add_etag()
        response.make_conditional(request)
    return response


def see(address: str) -> Response:
    """Go on at `address` after a form was sent."""
    return make_response(redirect(address, 303))
