"""To the OpenID provider and back."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Response, current_app, redirect, request, url_for

from api import session, signing
from api.pages.blueprint import blueprint, page
from api.pages.sessions import following
from api.problems import Refused
from api.services import services
from common import ids

COOKIE = "dcloud_sign_in"  # ties the way back to the browser that began; Lax, because it comes from another site
SECONDS = 600


@blueprint.get("/sign-in/provider")
def provider() -> Response:
    """Send the browser to the provider."""
    found = signing.provider()
    services().rates.spend(f"@{request.remote_addr}")  # nobody fills the store with sign-ins that they begin
    begun = {
        "nonce": ids.random_text(32),
        "verifier": ids.random_text(64),
        "next": following(request.args.get("next", "")),
    }
    state = services().sign_ins.begin(begun, SECONDS)
    address = found.authorization(_back(), state, begun["nonce"], begun["verifier"])
    response = current_app.make_response(redirect(address, 303))
    response.set_cookie(COOKIE, state, **_cookie(), max_age=SECONDS)
    return response


@blueprint.get("/sign-in/provider/back")
def back() -> Response:
    """Somebody comes back from the provider: a session for whoever it says they are."""
    found, state = signing.provider(), request.args.get("state", "")
    begun = services().sign_ins.take(state)
    if begun is None or not hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), state.encode()):
        raise Refused(400, "This sign-in took too long, or was begun in another browser. Begin again.")
    if "code" not in request.args:
        raise Refused(403, "The provider did not let you in. Begin again.")
    caller = signing.of_person(found.exchange(_back(), request.args["code"], begun["nonce"], begun["verifier"]))
    # a page that goes on by itself, and no redirect: a browser keeps the session's cookie from what another site began
    response = page("signed_in.html", following=begun["next"] or url_for("pages.home"))
    response.delete_cookie(COOKIE, **_cookie())
    session.begin(response, caller)
    return response


def _back() -> str:
    return services().settings.url.rstrip("/") + url_for("pages.back")


def _cookie() -> dict[str, Any]:
    return {"httponly": True, "samesite": "Lax", "secure": request.is_secure, "path": "/sign-in"}
