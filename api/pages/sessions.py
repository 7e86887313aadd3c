"""The way in and out."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Response, request, url_for

from api import session, signing
from api.pages import environments
from api.pages.blueprint import blueprint, page, see
from api.problems import Refused


@blueprint.get("/")
def home() -> Response:
    """One's environments, or the way in."""
    following = _following(request.args.get("next", ""))
    caller = session.current()
    if caller is None:
        return page("sign_in.html", following=following, ended="next" in request.args)
    return see(following) if following else environments.listed(caller)


@blueprint.post("/sign-in")
def sign_in() -> Response:
    """Exchange a password or a token for a session."""
    _refuse_other_sites()
    following = _following(request.form.get("next", ""))
    caller, problem = signing.by_form()
    if caller is None:
        return page(
            "sign_in.html", 401, problem=problem, following=following, with_token=bool(request.form.get("token"))
        )
    response = see(following or url_for("pages.home"))
    session.begin(response, caller)
    return response


@blueprint.post("/sign-out")
def sign_out() -> Response:
    """End the session."""
    response = see(url_for("pages.home"))
    session.end(response)
    return response


def _following(address: str) -> str:
    """Where on this site to go on; "" for anything that is elsewhere."""
    parts = urlsplit(address)
    here = address.startswith("/") and not address.startswith(("//", "/\\")) and not parts.netloc
    return address if here and address.isprintable() and address != "/" else ""


def _refuse_other_sites() -> None:
    origin = request.headers.get("Origin", "")
    if origin and urlsplit(origin).netloc != request.host:
        raise Refused(403, "This form was sent from another site. Open DCloud's own page and sign in there.")
