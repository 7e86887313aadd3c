"""Who calls, and whether they may: denied unless a route is public or the caller's scope allows it.

Programs send `Authorization: Bearer <token>`. Pages send the cookie of `api.session`; what changes
something then also carries the session's CSRF token, which another site cannot know.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import Flask, current_app, g, request
from redis import RedisError

from api import session
from api.problems import Refused
from api.services import services
from common import addresses, ids
from common.environment import Environment
from common.errors import NotFound
from common.principal import Principal
from common.questions import Question

PUBLIC = frozenset(
    {
        *("health.healthz", "health.readyz", "openapi.openapi", "openapi.docs", "openapi.problems"),
        *("static", "bootstrap.static"),
        *("pages.home", "pages.sign_in", "pages.provider", "pages.back"),
        *("index.index", "login.ways", "login.by_password", "login.begin", "login.finish"),
    }
)
CSRF_HEADER = "X-CSRF-Token"

View = TypeVar("View", bound=Callable[..., Any])

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def register(app: Flask) -> None:
    """Put the check before every request of `app`."""
    app.before_request(_check)


def principal() -> Principal:
    """Who makes the current request."""
    return cast(Principal, g.principal)


def lasting() -> Callable[[], bool]:
    """Whether whoever makes this request still may; to be asked while it is answered, which may be for hours."""
    caller, parts, cookie = principal(), services(), request.cookies.get(session.COOKIE, "")
    by_token = "Authorization" in request.headers

    def lasts() -> bool:
        try:
            now = parts.accounts.principal(caller.token_id) if by_token else parts.sessions.principal(cookie)
        except RedisError:
            return True  # nothing can be told of either
        return now is not None and (now.admin or not caller.admin)

    return lasts


def owned(env_id: str) -> Environment:
    """The environment, where the caller may see it. Raises NotFound: somebody else's does not exist for them."""
    if ids.PATTERN.fullmatch(env_id):
        asked: dict[str, Question] = g.pop("asked", {})
        found = services().ledger.get(env_id, asked.get(env_id))
        if found.owner == principal().user:
            return found
        if principal().admin:
            g.anothers = True  # for the audit log
            return found
    raise NotFound(f"There is no environment {env_id[:63]}.")


def admin(view: View) -> View:
    """Let only admins call this view."""
    view.needs_admin = True  # type: ignore[attr-defined]
    return view


def any_scope(view: View) -> View:
    """Let everyone who is signed in call this view, whatever their token may."""
    view.any_scope = True  # type: ignore[attr-defined]
    return view


def by_origin(view: View) -> View:
    """Let scripts that are not ours, and know no CSRF token, call this view: where the browser says that they are of
    this site."""
    view.by_origin = True  # type: ignore[attr-defined]
    return view


def needs(app: Flask, endpoint: str, method: str) -> frozenset[str]:
    """The scopes that a caller must have; nothing where it is public. Where `admin` is one, the role must be too."""
    if endpoint in PUBLIC or getattr(app.view_functions[endpoint], "any_scope", False):
        return frozenset()
    by_method = "read" if method in SAFE_METHODS else "submit"
    privileged = getattr(app.view_functions[endpoint], "needs_admin", False)
    return frozenset({by_method, "admin"} if privileged else {by_method})


def _check() -> None:
    if request.endpoint is None or request.endpoint in PUBLIC:
        return
    try:
        caller = _caller()
    except Refused:
        services().rates.spend(f"@{request.remote_addr}")
        raise
    admit(caller, needs(current_app, request.endpoint, request.method))


def admit(caller: Principal, needed: frozenset[str]) -> None:
    """Let the caller go on who has the scopes that are needed. Raises Refused, TooMany."""
    g.principal = caller
    services().rates.spend(caller.user)
    for scope in sorted(needed - caller.scopes):
        raise Refused(403, f"This token lacks the scope {scope!r}. Use one that has it.")
    if "admin" in needed and not caller.admin:
        raise Refused(403, "Only admins may do this.")


def _caller() -> Principal:
    header = request.headers.get("Authorization", "")
    if header:
        scheme, _, token = header.partition(" ")
        caller = services().accounts.verify(token.strip(), _beside()) if scheme.lower() == "bearer" else None
        if caller is None:
            raise Refused(401, "The token is mistyped, expired or revoked. Check it, or ask your admin for another.")
        return caller
    caller = session.current()
    if caller is None:
        raise Refused(401, "Send a token: `Authorization: Bearer dc_u_…`.")
    if request.method not in SAFE_METHODS:
        _check_origin()
    return caller


def _check_origin() -> None:
    """Raises Refused where another site may have sent this with the cookie of who is signed in here."""
    if getattr(current_app.view_functions[str(request.endpoint)], "by_origin", False):
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin", "")
        if site != "same-origin" if site else addresses.parts(origin).netloc != request.host:
            raise Refused(403, "Only a page of this site may ask for this.")
        return
    given = request.headers.get(CSRF_HEADER) or request.form.get("csrf", "")
    if not hmac.compare_digest(given.encode(), session.csrf().encode()):
        raise Refused(403, "The page is out of date. Reload it and try again.")


def _beside() -> Question | None:
    """What the view will ask first, where it only shows an environment: for `owned`, once."""
    env_id = (request.view_args or {}).get("env_id", "")
    if request.method not in SAFE_METHODS or not ids.PATTERN.fullmatch(env_id):
        return None
    question = services().ledger.asking(env_id)
    g.asked = {env_id: question}
    return question
