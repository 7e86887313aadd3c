"""API tokens: shown once when they are made, then only named."""

from __future__ import annotations

import re
import time
from typing import Any

from flask import Blueprint, Response, request

from api import auditing, bodies, conditions, paging, wire
from api.auth import principal
from api.idempotency import idempotent
from api.openapi.described import IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, PAGED, described, parameter
from api.problems import Refused
from api.services import services
from common import ids, units
from common.accounts import user_name
from common.errors import NotFound
from common.fields import Strict
from common.plain_fields import Choice, Choices, Word
from common.principal import SCOPES
from common.tokens import KINDS, Token, id_of

blueprint = Blueprint("tokens", __name__)

ID = re.compile(f"[{ids.ALPHABET}]{{10}}", re.ASCII)
PLACE = re.compile(rf"[0-9]{{10}}\.[0-9]{{3}}-{ID.pattern}", re.ASCII)  # of a token among one's own
LONGEST_LIFETIME_SECONDS = 5 * 365 * 86400
LONGEST_OVERLAP_SECONDS = 30 * 86400


def _lifetime(text: str) -> int | None:
    seconds = units.duration_seconds(text) if text else None
    if seconds is not None and not 0 < seconds <= LONGEST_LIFETIME_SECONDS:
        raise ValueError("is out of range; a lifetime is at most 5 years, and an empty one has no end")
    return seconds


def _overlap(text: str) -> int:
    seconds = units.duration_seconds(text)
    if seconds > LONGEST_OVERLAP_SECONDS:
        raise ValueError("is out of range; an overlap is at most 30 days")
    return seconds


class NewToken(Strict):
    """Body of `POST /tokens`."""

    DOCUMENT = "a token"

    name = Word("what it is for", longest=80, load_default="")
    kind = Choice("what holds it", tuple(KINDS), load_default="user")
    scopes = Choices(
        "what it may, nothing that the caller may not; by default read and submit", SCOPES, load_default=None
    )
    lifetime = Word("until it ends, as in 90d; empty is no end", _lifetime, load_default=None)
    user = Word("whose it is, by default the caller's; another's only for admins", user_name, load_default=None)


class Rotation(Strict):
    """Body of `POST /tokens/{id}/rotate`."""

    DOCUMENT = "a rotation"

    overlap = Word("how long the old one still works, as in 24h", _overlap, load_default=86400)


@blueprint.get("/tokens")
@described(
    "Tokens",
    parameters=(parameter("user", "another's, for admins"), *PAGED, IF_NONE_MATCH),
    headers=("ETag",),
    also={304: "it did not change"},
)
def tokens() -> Response:
    """A page of one's tokens, oldest first; admins see another's by `?user=`."""
    found, following = paging.part(services().accounts.tokens(_whose()), _place, PLACE)
    return conditions.answer({"tokens": [wired(token) for token in found], "next": following})


@blueprint.post("/tokens")
@idempotent(secret=True)
@described(
    "NewTokenOnce", 201, body=NewToken, parameters=(IDEMPOTENCY_KEY,), headers=("ETag", "Location"), refuses=(409,)
)
def create() -> Response:
    """A new token. This answer is the only one that has it whole."""
    wanted, caller = bodies.load(NewToken), principal()
    whose = wanted["user"] or caller.user
    if whose != caller.user and not caller.admin:
        raise Refused(403, "Only admins make tokens for others. Leave `user` out.")
    scopes = wanted["scopes"] or caller.scopes - {"admin"} or caller.scopes
    _refuse_more_than_own(set(scopes))
    lifetime = wanted["lifetime"]
    if caller.expires_at is not None and whose == caller.user:
        left = caller.expires_at - time.time()
        lifetime = min(lifetime or left, left)  # or a token could outlive itself
    text = services().accounts.create_token(whose, wanted["name"], scopes, lifetime, wanted["kind"])
    return shown_once(whose, text)


@blueprint.get("/tokens/<token_id>")
@described("Token", parameters=(IF_NONE_MATCH,), headers=("ETag",), also={304: "it did not change"})
def token(token_id: str) -> Response:
    """One token, without its secret."""
    return conditions.answer(wired(visible(token_id)))


@blueprint.delete("/tokens/<token_id>")
@described(None, 204, parameters=(IF_MATCH,), refuses=(412,))
def revoke(token_id: str) -> Response:
    """End a token at once."""
    found = visible(token_id)
    auditing.note(owner=found.user)
    services().accounts.revoke(found.user, found.id, _require)
    return Response(status=204)


@blueprint.post("/tokens/<token_id>/rotate")
@idempotent(secret=True)
@described(
    "NewTokenOnce",
    201,
    body=Rotation,
    body_required=False,
    parameters=(IDEMPOTENCY_KEY, IF_MATCH),
    headers=("ETag", "Location"),
    refuses=(409, 412),
)
def rotate(token_id: str) -> Response:
    """A new token in the place of this one, which works until the overlap is over."""
    found = visible(token_id)
    wanted = bodies.load(Rotation) if bodies.given() else Rotation().load({})
    _refuse_more_than_own(set(found.scopes))
    _refuse_to_outlive(found)
    return shown_once(found.user, services().accounts.rotate(found.user, found.id, wanted["overlap"], _require))


def visible(token_id: str) -> Token:
    """The token, where it is the caller's or the caller is an admin. Raises NotFound."""
    if ID.fullmatch(token_id):
        found = services().accounts.token(token_id)
        if found is not None and (principal().admin or found.user == principal().user):
            return found
    raise NotFound(f"There is no token {token_id[:32]}.")


def shown_once(user: str, text: str) -> Response:
    """The answer that has a new token whole."""
    [made] = [token for token in services().accounts.tokens(user) if token.id == id_of(text)]
    auditing.note(made=made.id, owner=user, name=made.label, scopes=sorted(made.scopes), expires_at=made.expires_at)
    response = conditions.answer({**wired(made), "token": text}, 201)
    response.headers["Location"] = f"{wire.ROOT}/tokens/{made.id}"
    return response


def wired(token: Token) -> dict[str, Any]:
    """A token as JSON, without its secret."""
    return {
        "id": token.id,
        "name": token.label,
        "kind": token.kind,
        "user": token.user,
        "scopes": [scope for scope in SCOPES if scope in token.scopes],
        "created_at": wire.time(token.created_at),
        "expires_at": wire.time(token.expires_at),
        "last_used_at": wire.time(token.used_at),
        "expired": token.expired,
        "replaced_by": token.replaced_by or None,
        "links": {"self": f"{wire.ROOT}/tokens/{token.id}"},
    }


def _place(token: Token) -> str:
    return f"{token.created_at:014.3f}-{token.id}"


def _require(present: Token) -> None:
    conditions.require(conditions.tag(wired(present)))


def _whose() -> str:
    wanted = request.args.get("user", "")
    if principal().admin and wanted:
        return services().accounts.user(wanted).name
    if wanted not in ("", principal().user):
        raise Refused(403, "Only admins list other users' tokens. Leave `user` out.")
    return principal().user


def _refuse_more_than_own(scopes: set[str]) -> None:
    if lacking := scopes - principal().scopes:
        raise Refused(403, f"The caller lacks the scope {min(lacking)!r}, and so cannot give it to a token.")


def _refuse_to_outlive(found: Token) -> None:
    """A token that ends gets itself anew, and of the others only those whose replacement ends no later than it does."""
    caller = principal()
    if caller.expires_at is None or found.user != caller.user or found.id == caller.token_id:
        return
    lifetime = None if found.expires_at is None else found.expires_at - found.created_at
    if lifetime is None or time.time() + lifetime > caller.expires_at:
        raise Refused(
            403, "Its replacement would outlive the token that asks. Use one that lives longer, or a session."
        )
