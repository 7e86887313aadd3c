"""Users and their API tokens: the only reader and writer of these keys.

A token is `dc_<kind>_<id>_<secret><checksum>`: the kind is u for a user's, the id finds its record, the
checksum refuses a mistyped one without asking Redis. Redis keeps SHA-256 of the whole token, so that its
content opens nothing.

  user(name)         hash    role (user | admin), created
  users              set     names
  api_token(id)      hash    digest user label scopes created expires used; times are seconds since the epoch
  api_tokens(user)   set     ids
  secret(name)       string  a random secret of this installation
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis

from common import ids
from common.errors import DCloudError, NotFound
from common.keys import Keys

ROLES = ("user", "admin")
SCOPES = ("read", "submit", "admin")
ADMIN = "admin"

USER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)
TOKEN = re.compile(rf"dc_([a-z])_([{ids.ALPHABET}]{{10}})_([{ids.ALPHABET}]{{32}})([{ids.ALPHABET}]{{7}})", re.ASCII)

_USED_PRECISION_SECONDS = 600  # the last use is written at most this often: each write is an fsync


@dataclass(frozen=True)
class Principal:
    """Who calls: the user, the role, and what the token may do."""

    user: str
    role: str
    scopes: frozenset[str]
    token_id: str = ""

    @property
    def admin(self) -> bool:
        """Whether everything may be seen and done."""
        return self.role == "admin" and "admin" in self.scopes


@dataclass(frozen=True)
class User:
    """An account."""

    name: str
    role: str
    created_at: float


@dataclass(frozen=True)
class Token:
    """An API token, without its secret. Times are seconds since the epoch; None is never."""

    id: str
    user: str
    label: str
    scopes: frozenset[str]
    created_at: float
    expires_at: float | None
    used_at: float | None


class Accounts:
    """All accounts of an installation. `redis` decodes responses."""

    def __init__(self, redis: Redis, keys: Keys):
        self._redis = redis
        self._keys = keys

    def verify(self, token: str) -> Principal | None:
        """Who holds `token`; None where it is mistyped, unknown, revoked or expired."""
        match = TOKEN.fullmatch(token)
        if match is None or _checksum(token[:-7]) != match[4]:
            return None
        record = self._record(self._keys.api_token(match[2]))
        if not hmac.compare_digest(record.get("digest", ""), _digest(token)):
            return None
        return self._principal(match[2], record)

    def principal(self, token_id: str) -> Principal | None:
        """Whose token this is, for someone who has shown it before; None where it was revoked or has expired."""
        record = self._record(self._keys.api_token(token_id))
        return self._principal(token_id, record) if record else None

    def create_user(self, name: str, role: str = "user") -> User:
        """Add an account. Raises DCloudError where the name or the role is none, or the name is taken."""
        if not USER_NAME.fullmatch(name):
            raise DCloudError(f"{name!r} is not a user name: 1 to 32 of a-z, 0-9, '.', '_' and '-'.")
        if role not in ROLES:
            raise DCloudError(f"{role!r} is not a role. Choose one of {', '.join(ROLES)}.")
        now = time.time()
        if not self._redis.hsetnx(self._keys.user(name), "role", role):
            raise DCloudError(f"There is a user {name} already.")
        with self._redis.pipeline() as pipe:
            pipe.hset(self._keys.user(name), "created", f"{now:.3f}")
            pipe.sadd(self._keys.users(), name)
            pipe.execute()
        return User(name, role, now)

    def user(self, name: str) -> User:
        """Raises NotFound."""
        record = self._record(self._keys.user(name))
        if not record:
            raise NotFound(f"There is no user {name}.")
        return User(name, record["role"], float(record.get("created", 0)))

    def users(self) -> list[User]:
        """All accounts by name."""
        return [self.user(name) for name in sorted(cast(set[str], self._redis.smembers(self._keys.users())))]

    def create_token(
        self, user: str, label: str = "", scopes: Collection[str] = SCOPES, lifetime_seconds: float | None = None
    ) -> str:
        """A new token of `user`, to be shown once. Raises NotFound; DCloudError for a scope that there is not."""
        self.user(user)
        if unknown := set(scopes) - set(SCOPES):
            raise DCloudError(f"{min(unknown)!r} is not a scope. Choose from {', '.join(SCOPES)}.")
        token_id = ids.random_text(10)
        body = f"dc_u_{token_id}_{ids.random_text(32)}"
        token = body + _checksum(body)
        now = time.time()
        record: dict[Any, Any] = {
            "digest": _digest(token),
            "user": user,
            "label": label,
            "scopes": " ".join(sorted(scopes)),
            "created": f"{now:.3f}",
            "expires": f"{now + lifetime_seconds:.3f}" if lifetime_seconds else "",
            "used": "",
        }
        with self._redis.pipeline() as pipe:
            pipe.hset(self._keys.api_token(token_id), mapping=record)
            pipe.sadd(self._keys.api_tokens(user), token_id)
            pipe.execute()
        return token

    def tokens(self, user: str) -> list[Token]:
        """The tokens of `user`, oldest first."""
        found = []
        for token_id in cast(set[str], self._redis.smembers(self._keys.api_tokens(user))):
            record = self._record(self._keys.api_token(token_id))
            if record:
                found.append(_token(token_id, record))
        return sorted(found, key=lambda token: (token.created_at, token.id))

    def revoke(self, user: str, token_id: str) -> None:
        """End a token of `user` at once. Raises NotFound."""
        if not self._redis.srem(self._keys.api_tokens(user), token_id):
            raise NotFound(f"{user} has no token {token_id}.")
        self._redis.delete(self._keys.api_token(token_id))

    def secret(self, name: str) -> str:
        """The random secret called `name`, the same for all processes of this installation; made at first use."""
        self._redis.set(self._keys.secret(name), secrets.token_hex(32), nx=True)
        return cast(str, self._redis.get(self._keys.secret(name)))

    def _principal(self, token_id: str, record: dict[str, str]) -> Principal | None:
        now = time.time()
        if record["expires"] and now >= float(record["expires"]):
            return None
        user = self._record(self._keys.user(record["user"]))
        if not user:
            return None
        if now - float(record["used"] or 0) > _USED_PRECISION_SECONDS:
            self._redis.hset(self._keys.api_token(token_id), "used", f"{now:.3f}")
        return Principal(record["user"], user["role"], frozenset(record["scopes"].split()), token_id)

    def _record(self, key: str) -> dict[str, str]:
        return cast(dict[str, str], self._redis.hgetall(key))


def ensure_admin(redis: Redis, keys: Keys) -> str | None:
    """At the first start the first admin's token; None where there is an admin with a token already.

    Where the token was lost, `Accounts(redis, keys).create_token(ADMIN)` makes another.
    """
    accounts = Accounts(redis, keys)
    try:
        accounts.user(ADMIN)
    except NotFound:
        accounts.create_user(ADMIN, "admin")
    return None if accounts.tokens(ADMIN) else accounts.create_token(ADMIN, label="first start")


def _token(token_id: str, r: dict[str, str]) -> Token:
    scopes = frozenset(r["scopes"].split())
    return Token(token_id, r["user"], r["label"], scopes, float(r["created"]), _time(r["expires"]), _time(r["used"]))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _checksum(text: str) -> str:
    return ids.encode(zlib.crc32(text.encode()), 7)


def _time(text: str) -> float | None:
    return float(text) if text else None
