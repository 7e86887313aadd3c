"""The way in and out."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from api import auth, session, signing
from api.pages import environments
from api.pages.blueprint import blueprint, page, see
from api.problems import Refused
from api.services import services
from common import addresses
from common.errors import TooMany


@blueprint.get("/")
def home() -> Response:
    """One's environments, or the way in."""
    onward = following(request.args.get("next", ""))
    caller = session.current()
    if caller is None:
        return _way_in(onward, ended="next" in request.args)
    if onward:
        return see(onward)
    auth.admit(caller, frozenset({"read"}))
    return environments.listed(caller)


@blueprint.post("/sign-in")
def sign_in() -> Response:
    """Exchange a password or a token for a session."""
    _refuse_other_sites()
    onward = following(request.form.get("next", ""))
    try:
        caller, problem = signing.by_form()
    except TooMany as error:
        answer = _way_in(onward, 429, problem=str(error))
        answer.headers["Retry-After"] = str(error.retry_after_seconds)
        return answer
    if caller is None:
        return _way_in(onward, 401, problem=problem, with_token=bool(request.form.get("token")))
    response = see(onward or url_for("pages.home"))
    session.begin(response, caller)
    return response


@blueprint.post("/sign-out")
@auth.any_scope
def sign_out() -> Response:
    """End the session."""
    response = see(url_for("pages.home"))
    session.end(response)
    return response


def following(address: str) -> str:
    """Where on this site to go on; "" for anything that is elsewhere."""
    here = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if here and address.isprintable() and address != "/" else ""


def _way_in(onward: str, status: int = 200, **values: Any) -> Response:
    return page("sign_in.html", status, following=onward, provider=services().provider is not None, **values)


def _refuse_other_sites() -> None:
    origin = request.headers.get("Origin", "")
    if origin and addresses.parts(origin).netloc != request.host:
        raise Refused(403, "This form was sent from another site. Open DCloud's own page and sign in there.")
