"""Accounts of people whom an OpenID provider knows.

  identity(digest)   string   the account of somebody at a provider; digest is SHA-256 of its issuer and their subject

The subject is what a provider promises never to give to anybody else, so an account is bound to it and not to a name.
An account that was made here is never taken over because somebody has the same name there.
"""

from __future__ import annotations

import hashlib
import re
from typing import cast

from redis import Redis

from common.accounts import Accounts, User, user_name
from common.errors import NotFound, Taken, Unsuitable
from common.keys import Keys

_NOT_IN_A_NAME = re.compile(r"[^a-z0-9._-]", re.ASCII)


class Identities:
    """Who at a provider is who here. `redis` decodes responses."""

    def __init__(self, redis: Redis, keys: Keys, accounts: Accounts):
        self._redis = redis
        self._keys = keys
        self._accounts = accounts

    def account(self, issuer: str, subject: str, wanted_name: str, role: str) -> User:
        """The account of somebody, made when they come for the first time, with the role that they have now.

        Raises Unsuitable where it cannot be made, and where it is disabled.
        """
        key = self._keys.identity(hashlib.sha256(f"{issuer}\n{subject}".encode()).hexdigest())
        name = cast(str | None, self._redis.get(key))
        user = self._known(name) if name else None
        if user is None:
            user = self._made(key, wanted_name, role)
        if user.disabled:
            raise Unsuitable("This account is disabled. Ask an admin.")
        return user if user.role == role else self._accounts.set_role(user.name, role)

    def _known(self, name: str) -> User | None:
        try:
            return self._accounts.user(name)
        except NotFound:
            return None

    def _made(self, key: str, wanted_name: str, role: str) -> User:
        name = _NOT_IN_A_NAME.sub("-", wanted_name.lower().partition("@")[0])[:32].lstrip("._-")
        try:
            user = self._accounts.create_user(user_name(name), role)
        except ValueError as error:
            raise Unsuitable(f"{wanted_name[:80]!r}, the name that the provider gives, {error}.") from None
        except Taken:
            raise Unsuitable(
                f"There is an account {name} already, and it is not this person's at the provider. Ask an admin."
            ) from None
        self._redis.set(key, user.name)
        return user
