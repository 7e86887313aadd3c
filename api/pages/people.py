"""Accounts: one's own for everyone, all of them for admins. What is done is done by the API's own functions."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from api import auth, bodies, quotas, users
from api.auth import principal
from api.pages.blueprint import blueprint, page, see
from api.services import services
from common.principal import ROLES, SCOPES

GIB_MIB = 1024
SHOWN = 500


@blueprint.get("/people")
@auth.admin
def people() -> Response:
    """All accounts."""
    found = services().accounts.users("", SHOWN)
    used = {user.name: services().ledger.quota(user.name)[1] for user in found}
    return page("people.html", people=found, used=used, roles=ROLES)


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


@blueprint.post("/people/<name>/quota")
@auth.admin
def set_quota(name: str) -> Response:
    """Limits of their own, or those of everyone again."""
    if "default" in request.form:
        quotas.take(name)
    else:
        bodies.instead(
            {
                "environments": _number("environments"),
                "cpu_milli": _number("cpu", 1000),
                "ram_mib": _number("ram", GIB_MIB),
                "gpus": _number("gpus"),
                "storage_mib": _number("storage", GIB_MIB),
            }
        )
        quotas.give(name)
    return see(url_for("pages.person", name=name))


def _shown(name: str) -> Response:
    user = users.visible(name)
    limit, used = services().ledger.quota(user.name)
    amounts = (
        ("Environments", used.environments, limit.environments, "environments", 1),
        ("CPU, cores", used.cpu_milli, limit.cpu_milli, "cpu", 1000),
        ("RAM, GiB", used.ram_mib, limit.ram_mib, "ram", GIB_MIB),
        ("GPUs", used.gpus, limit.gpus, "gpus", 1),
        ("Storage, GiB", used.storage_mib, limit.storage_mib, "storage", GIB_MIB),
    )
    return page(
        "person.html", user=user, own=user.name == principal().user, tokens=services().accounts.tokens(user.name),
        rows=[(what, (has or 0) / by, most and most / by, name) for what, has, most, name, by in amounts],
        own_quota=services().ledger.own_quota(user.name) is not None, roles=ROLES,
        scopes=[scope for scope in SCOPES if scope in principal().scopes],
    )  # fmt: skip


def _page_of(name: str) -> str:
    return url_for("pages.account") if name == principal().user else url_for("pages.person", name=name)


def _given(*names: str) -> dict[str, Any]:
    """The fields of the form that say something."""
    return {name: request.form[name] for name in names if request.form.get(name)}


def _number(name: str, times: int = 1) -> Any:
    """What a field says in the ledger's unit, None for nothing; what is no number goes on as it is, to be refused."""
    text = request.form.get(name, "").strip()
    try:
        return round(float(text) * times) if text else None
    except (ValueError, OverflowError):
        return text
