"""API tokens on the pages: made, shown once, ended."""

from __future__ import annotations

from flask import Response, request, url_for

from api import bodies, tokens
from api.auth import principal
from api.pages.blueprint import blueprint, page, see


@blueprint.post("/tokens")
def make_token() -> Response:
    """A new token; this page is the only one that shows it."""
    wanted = {name: request.form[name] for name in ("name", "lifetime", "user") if request.form.get(name)}
    bodies.instead({**wanted, "scopes": request.form.getlist("scope")})
    made = tokens.create().get_json()
    return page("token.html", token=made, back=_back())


@blueprint.post("/tokens/<token_id>/revoke")
def revoke_token(token_id: str) -> Response:
    """End one at once."""
    tokens.revoke(token_id)
    return see(_back())


def _back() -> str:
    whose = request.form.get("user", "")
    return url_for("pages.person", name=whose) if whose and whose != principal().user else url_for("pages.account")
