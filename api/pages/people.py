"""Accounts: one's own for everyone, all of them for admins. What is done is done by the API's own functions."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from api import auth, bodies, quotas, users
from api.auth import principal
from api.pages import limits
from api.pages.blueprint import blueprint, page, see
from api.services import services
from common.ledger import Quota
from common.principal import ROLES, SCOPES

SHOWN = 500


@blueprint.get("/people")
@auth.admin
def people() -> Response:
    """All accounts."""
    found = services().accounts.users("", SHOWN)
    used = {user.name: services().ledger.quota(user.name)[1] for user in found}
    default = services().ledger.limits(quotas.EVERYONE).own
    return page(
        "people.html", people=found, used=used, roles=ROLES, rows=limits.rows(default or Quota()),
        limited=default is not None,
    )  # fmt: skip


@blueprint.post("/people")
@auth.admin
def add_person() -> Response:
    """Add an account."""
    bodies.instead(_given("name", "role", "password"))
    users.create()
    return see(url_for("pages.people"))


@blueprint.get("/account")
def account() -> Response:
    """One's own."""
    return _shown(principal().user)


@blueprint.get("/people/<name>")
@auth.admin
def person(name: str) -> Response:
    """Somebody's, for admins."""
    return _shown(name)


@blueprint.post("/people/<name>/change")
@auth.admin
def change_person(name: str) -> Response:
    """Another role, disabled or enabled."""
    changed: dict[str, Any] = _given("role")
    if "disabled" in request.form:
        changed["disabled"] = request.form["disabled"] == "1"
    bodies.instead(changed)
    users.change(name)
    return see(url_for("pages.person", name=name))


@blueprint.post("/people/<name>/password")
def set_password(name: str) -> Response:
    """A new password."""
    bodies.instead(_given("password", "current"))
    answer = users.set_password(name)
    following = see(_page_of(name))
    for cookie in answer.headers.getlist("Set-Cookie"):  # the session that goes on
        following.headers.add("Set-Cookie", cookie)
    return following


def _shown(name: str) -> Response:
    user = users.visible(name)
    limits_of = services().ledger.limits(user.name)
    return page(
        "person.html", user=user, own=user.name == principal().user, tokens=services().accounts.tokens(user.name),
        rows=limits.rows(limits_of.holding, limits_of.used),
        own_quota=limits_of.own is not None, roles=ROLES,
        scopes=[scope for scope in SCOPES if scope in principal().scopes],
    )  # fmt: skip


def _page_of(name: str) -> str:
    return url_for("pages.account") if name == principal().user else url_for("pages.person", name=name)


def _given(*names: str) -> dict[str, Any]:
    """The fields of the form that say something."""
    return {name: request.form[name] for name in names if request.form.get(name)}
