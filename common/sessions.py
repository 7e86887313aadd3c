"""Sessions of people who signed in on a page. Redis keeps SHA-256 of what their cookie says.

  session(digest)    hash    user, stamp, token; gone LIFETIME_SECONDS after sign-in

`stamp` is the account's when the session began: a new password, another role or disabling the account changes the
account's stamp, and with that ends every session. `token` is the id of the API token that was shown, "" where it was
a password or a provider.
"""

from __future__ import annotations

import hashlib
from typing import cast

from redis import Redis

from common import ids
from common.accounts import Accounts
from common.errors import NotFound
from common.keys import Keys
from common.principal import SCOPES, Principal

LIFETIME_SECONDS = 12 * 3600


class Sessions:
    """All sessions of an installation. `redis` decodes responses."""

    def __init__(self, redis: Redis, keys: Keys, accounts: Accounts):
        self._redis = redis
        self._keys = keys
        self._accounts = accounts

    def begin(self, user: str, token_id: str = "") -> str:
        """A new session's secret, for the cookie."""
        secret = ids.random_text(40)
        key, stamp = self._key(secret), self._accounts.user(user).stamp
        with self._redis.pipeline() as pipe:
            pipe.hset(key, mapping={"user": user, "stamp": stamp, "token": token_id})
            pipe.expire(key, LIFETIME_SECONDS)
            pipe.execute()
        return secret

    def principal(self, secret: str) -> Principal | None:
        """Whose session this is; None where it has ended."""
        record = cast(dict[str, str], self._redis.hgetall(self._key(secret)))
        if not record:
            return None
        try:
            user = self._accounts.user(record["user"])
        except NotFound:
            return None
        if user.disabled or user.stamp != record["stamp"]:
            return None
        if record["token"]:
            return self._accounts.principal(record["token"])
        return Principal(user.name, user.role, frozenset(SCOPES))

    def end(self, secret: str) -> None:
        """End a session; one that has ended already stays so."""
        self._redis.delete(self._key(secret))

    def _key(self, secret: str) -> str:
        return self._keys.session(hashlib.sha256(secret.encode(errors="replace")).hexdigest())
