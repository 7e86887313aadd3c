"""The page: sign in with a token, see one's environments move, submit a small contract."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from api import session
from api.problems import Refused
from api.services import services

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def home() -> Response:
    """One's environments, or the way in."""
    caller = session.current()
    if caller is None:
        return make_response(render_template("sign_in.html"))
    return make_response(render_template("environments.html", caller=caller, csrf=session.csrf()))


@blueprint.post("/sign-in")
def sign_in() -> Response:
    """Exchange a token for a session."""
    _refuse_other_sites()
    caller = services().accounts.verify(request.form.get("token", "").strip())
    if caller is None:
        problem = "This token is mistyped, expired or revoked. Copy it again, or ask your admin for another."
        return make_response(render_template("sign_in.html", problem=problem), 401)
    response = make_response(redirect(url_for("pages.home"), 303))
    session.begin(response, caller)
    return response


@blueprint.post("/sign-out")
def sign_out() -> Response:
    """End the session."""
    response = make_response(redirect(url_for("pages.home"), 303))
    session.end(response)
    return response


def _refuse_other_sites() -> None:
    origin = request.headers.get("Origin", "")
    if origin and urlsplit(origin).netloc != request.host:
        raise Refused(403, "This form was sent from another site. Open DCloud's own page and sign in there.")
