"""The signed cookie of someone who signed in on a page. It names their token, so revoking that ends it too."""

from __future__ import annotations

import hashlib
import hmac

from flask import Response, g, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from api.services import services
from common.accounts import Principal

COOKIE = "dcloud_session"
MAX_AGE_SECONDS = 12 * 3600


def begin(response: Response, principal: Principal) -> None:
    """Set the cookie for `principal`."""
    response.set_cookie(
        COOKIE,
        _serializer().dumps(principal.token_id),
        max_age=MAX_AGE_SECONDS,
        httponly=True,
        samesite="Strict",
        secure=request.is_secure,
    )


def end(response: Response) -> None:
    """Take the cookie back."""
    response.delete_cookie(COOKIE, httponly=True, samesite="Strict", secure=request.is_secure)


def current() -> Principal | None:
    """Who signed in, as long as their token holds; None for nobody."""
    value = request.cookies.get(COOKIE, "")
    if not value:
        return None
    if "session_principal" not in g:
        try:
            token_id = _serializer().loads(value, max_age=MAX_AGE_SECONDS)
        except BadSignature:
            return None
        g.session_principal = services().accounts.principal(token_id)
    found: Principal | None = g.session_principal
    return found


def csrf() -> str:
    """The CSRF token of the current session; it changes with the cookie."""
    value = request.cookies.get(COOKIE, "")
    return hmac.new(_secret().encode(), f"csrf {value}".encode(), hashlib.sha256).hexdigest()


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(_secret(), salt="dcloud session")


def _secret() -> str:
    if "session_secret" not in g:
        g.session_secret = services().accounts.secret("session")
    return str(g.session_secret)
