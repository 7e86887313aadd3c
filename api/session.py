"""The cookie of someone who signed in on a page. It is the secret of a session that `common.sessions` keeps."""

from __future__ import annotations

import hashlib
import hmac

from flask import Response, g, request

from api.services import services
from common.principal import Principal
from common.sessions import LIFETIME_SECONDS

COOKIE = "dcloud_session"


def begin(response: Response, principal: Principal) -> None:
    """Begin a session of `principal` and set its cookie."""
    response.set_cookie(
        COOKIE,
        services().sessions.begin(principal.user, principal.token_id),
        max_age=LIFETIME_SECONDS,
        httponly=True,
        samesite="Strict",
        secure=request.is_secure,
    )


def end(response: Response) -> None:
    """End the session and take the cookie back."""
    services().sessions.end(request.cookies.get(COOKIE, ""))
    response.delete_cookie(COOKIE, httponly=True, samesite="Strict", secure=request.is_secure)


def current() -> Principal | None:
    """Who signed in, as long as their session holds; None for nobody."""
    value = request.cookies.get(COOKIE, "")
    if not value:
        return None
    if "session_principal" not in g:
        g.session_principal = services().sessions.principal(value)
    found: Principal | None = g.session_principal
    return found


def csrf() -> str:
    """The CSRF token of the current session. Only who knows its secret can make it, and it does not tell the secret."""
    value = request.cookies.get(COOKIE, "")
    return hmac.new(value.encode(errors="replace"), b"csrf", hashlib.sha256).hexdigest()
