"""Accounts: admins make and change them, everyone sees their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Blueprint, Response

from api import auditing, auth, bodies, conditions, paging, session, signing, wire
from api.auth import principal
from api.idempotency import idempotent
from api.openapi.described import IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, PAGED, described
from api.problems import Refused
from api.services import services
from common import passwords
from common.accounts import USER_NAME, User, user_name
from common.errors import ContractError, NotFound, Problem, Unsuitable
from common.fields import Strict
from common.plain_fields import Choice, Secret, Truth, Word
from common.principal import ROLES

blueprint = Blueprint("users", __name__)


class NewUser(Strict):
    """Body of `POST /users`."""

    DOCUMENT = "an account"

    name = Word("1 to 32 of a-z, 0-9, '.', '_' and '-'", user_name, required=True)
    role = Choice("what the account may", ROLES, load_default="user")
    password = Secret("for the pages; without one the account has only tokens", load_default=None)


class UserChange(Strict):
    """Body of `PATCH /users/{name}`; what is left out stays."""

    DOCUMENT = "an account"

    role = Choice("what the account may", ROLES)
    disabled = Truth("a disabled account can do nothing; its environments stay")


class NewPassword(Strict):
    """Body of `PUT /users/{name}/password`."""

    DOCUMENT = "a new password"

    password = Secret("the new one, of 12 to 256 characters", required=True)
    current = Secret("the present one; needed for one's own account where it has one", load_default="")


@blueprint.get("/users")
@auth.admin
@described("Users", parameters=(*PAGED, IF_NONE_MATCH), headers=("ETag",), also={304: "it did not change"})
def users() -> Response:
    """A page of the accounts, by name."""
    most = paging.limit()
    found = services().accounts.users(paging.after(USER_NAME), most + 1)
    following = found[most - 1].name if len(found) > most else ""
    return conditions.answer({"users": [wired(user) for user in found[:most]], "next": paging.cursor(following)})


@blueprint.post("/users")
@auth.admin
@idempotent()
@described("User", 201, body=NewUser, parameters=(IDEMPOTENCY_KEY,), headers=("ETag", "Location"), refuses=(409,))
def create() -> Response:
    """Add an account."""
    wanted, accounts = bodies.load(NewUser), services().accounts
    if wanted["password"] is not None:
        _check(wanted["password"], wanted["name"])
    auditing.note(wanted["name"], role=wanted["role"], password=wanted["password"] is not None)
    user = accounts.create_user(wanted["name"], wanted["role"])
    if wanted["password"] is not None:
        user = accounts.set_password(user.name, wanted["password"])
    response = conditions.answer(wired(user), 201, etag(user))
    response.headers["Location"] = f"{wire.ROOT}/users/{user.name}"
    return response


@blueprint.get("/users/<name>")
@described("User", parameters=(IF_NONE_MATCH,), headers=("ETag",), also={304: "it did not change"})
def user(name: str) -> Response:
    """An account; `me` is one's own."""
    found = visible(name)
    return conditions.answer(wired(found), etag=etag(found))


@blueprint.patch("/users/<name>")
@auth.admin
@described("User", body=UserChange, parameters=(IF_MATCH,), headers=("ETag",), refuses=(409, 412))
def change(name: str) -> Response:
    """Change the role, disable or enable."""
    found, wanted = visible(name), bodies.load(UserChange)
    auditing.note(found.name, **wanted)

    def changed(present: User) -> User:
        conditions.require(etag(present))
        if present.name == principal().user and (wanted.get("role", "admin") != "admin" or wanted.get("disabled")):
            raise Unsuitable("This would take your own rights away. Another admin can do it.")
        return replace(present, **wanted)

    found = services().accounts.change(found.name, changed)
    return conditions.answer(wired(found), etag=etag(found))


@blueprint.put("/users/<name>/password")
@described(None, 204, body=NewPassword, parameters=(IF_MATCH,), refuses=(412,))
def set_password(name: str) -> Response:
    """Set a password: one's own with the present one, admins anybody's. It ends all sessions but the caller's."""
    found, wanted = visible(name), bodies.load(NewPassword)
    caller = principal()
    auditing.note(found.name)
    own = found.name == caller.user
    if lacking := signing.whole(found.role) - caller.scopes:
        raise Refused(403, f"A password opens all that an account may; this token lacks the scope {min(lacking)!r}.")
    if own and found.has_password:
        here = f"as {found.name}"  # in the place of an address: nobody holds up another's change
        services().attempts.count(found.name, here)
        if services().accounts.check_password(found.name, wanted["current"]) is None:
            raise Refused(403, "The present password, in `current`, is wrong.")
        services().attempts.forget(found.name, here)
    _check(wanted["password"], found.name)
    services().accounts.set_password(found.name, wanted["password"], lambda present: conditions.require(etag(present)))
    response = Response(status=204)
    if own and session.current() is not None and not caller.token_id:
        session.begin(response, caller)
    return response


def visible(name: str) -> User:
    """The account, where the caller may see it. Raises NotFound: somebody else's does not exist for them."""
    caller = principal()
    name = caller.user if name == "me" else name
    if USER_NAME.fullmatch(name) and (caller.admin or name == caller.user):
        return services().accounts.user(name)
    raise NotFound(f"There is no user {name[:32]}.")


def etag(user: User) -> str:
    """Changes whenever an account does, with its password too; without quotes."""
    return conditions.tag([wired(user), user.stamp])


def wired(user: User) -> dict[str, Any]:
    """An account as JSON."""
    return {
        "name": user.name,
        "role": user.role,
        "disabled": user.disabled,
        "has_password": user.has_password,
        "created_at": wire.time(user.created_at),
        "links": {"self": f"{wire.ROOT}/users/{user.name}", "quota": f"{wire.ROOT}/users/{user.name}/quota"},
    }


def _check(password: str, user: str) -> None:
    if problem := passwords.problem(password, user):
        raise ContractError([Problem("password", problem)])
