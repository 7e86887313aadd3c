"""API tokens on the pages: made, shown once, ended."""

from __future__ import annotations

from flask import Response, request, url_for

from api import bodies, tokens
from api.auth import principal
from api.pages.blueprint import blueprint, page, see

OVERLAPS = {"0s": "not at all", "1h": "1 hour", "24h": "1 day", "7d": "1 week", "30d": "30 days"}


@blueprint.post("/tokens")
def make_token() -> Response:
    """A new token; this page is the only one that shows it."""
    wanted = {name: request.form[name] for name in ("name", "lifetime", "user") if request.form.get(name)}
    bodies.instead({**wanted, "scopes": request.form.getlist("scope")})
    made = tokens.create().get_json()
    return page("token.html", token=made, back=_back())


@blueprint.get("/tokens/<token_id>/rotate")
def ask_rotate(token_id: str) -> Response:
    """For how long the old one is to work beside the new one."""
    return page("rotate.html", token=tokens.visible(token_id), overlaps=OVERLAPS)


@blueprint.post("/tokens/<token_id>/rotate")
def rotate_token(token_id: str) -> Response:
    """A new one in its place; this page is the only one that shows it."""
    bodies.instead({"overlap": request.form["overlap"]} if request.form.get("overlap") else {})
    made = tokens.rotate(token_id=token_id).get_json()
    return page("token.html", token=made, back=_back(), old=tokens.visible(token_id))


@blueprint.post("/tokens/<token_id>/revoke")
def revoke_token(token_id: str) -> Response:
    """End one at once."""
    tokens.revoke(token_id)
    return see(_back())


def _back() -> str:
    whose = request.form.get("user", "")
    return url_for("pages.person", name=whose) if whose and whose != principal().user else url_for("pages.account")
