"""Signing in: by a name and a password, by an API token, or at an OpenID provider."""

from __future__ import annotations

from flask import request

from api import auditing
from api.problems import Refused
from api.provider import Person, Provider
from api.services import services
from common.principal import SCOPES, Principal

WRONG_PASSWORD = "The name or the password is wrong, or the account is disabled."  # noqa: S105 - a sentence
WRONG_TOKEN = "This token is mistyped, expired or revoked. Copy it again, or ask your admin for another."  # noqa: S105


def by_password(name: str, password: str) -> Principal | None:
    """Who has this password, None for nobody. Raises TooMany."""
    name, address = name.strip().lower(), request.remote_addr or ""
    attempts = services().attempts
    if services().accounts.exists(name):  # else it may be a password in the wrong field
        auditing.note(target=name)
    attempts.count(name, address)
    user = services().accounts.check_password(name, password)
    if user is None:
        return None
    auditing.note(user=user.name, by="password")
    attempts.forget(name, address)
    return Principal(user.name, user.role, frozenset(SCOPES))


def whole(role: str) -> frozenset[str]:
    """The scopes that make up all that an account of this role may."""
    return frozenset(SCOPES) - (frozenset() if role == "admin" else {"admin"})


def provider() -> Provider:
    """The OpenID provider. Raises Refused (404) where there is none."""
    found = services().provider
    if found is None:
        raise Refused(404, "No OpenID provider signs people in here. Use a password or a token.")
    return found


def of_person(person: Person) -> Principal:
    """The account of somebody whom the provider knows, made at their first sign-in. Raises Refused, Unsuitable."""
    role = provider().role(person)
    user = services().identities.account(person.issuer, person.subject, person.name, role)
    auditing.note(target=user.name, user=user.name, by="provider", role=role)
    return Principal(user.name, user.role, frozenset(SCOPES))


def by_form() -> tuple[Principal | None, str]:
    """Who sent this form, with `token` or with `name` and `password`; for nobody None and what to tell them.

    Raises TooMany.
    """
    token, name = request.form.get("token", "").strip(), request.form.get("name", "")
    if token or not name:
        caller = services().accounts.verify(token)
        if caller is not None:
            auditing.note(user=caller.user, target=caller.user, by="token", token=caller.token_id)
        return caller, WRONG_TOKEN
    return by_password(name, request.form.get("password", "")), WRONG_PASSWORD
