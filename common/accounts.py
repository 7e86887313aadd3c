"""Accounts: people and programs, their roles, passwords and API tokens. The only reader and writer of these keys.

  user(name)         hash    role created; where they apply: password (argon2), disabled ("1"), stamp
  users              set     names
  secret(name)       string  a random secret of this installation

`stamp` changes whenever what somebody may changes, and ends their sessions (`common.sessions`).
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline

from common import passwords
from common.errors import DCloudError, NotFound, Taken
from common.keys import Keys
from common.principal import ROLES, SCOPES, Principal
from common.questions import Question
from common.tokens import Seen, Token, Tokens
from common.versions import any_version

ADMIN = "admin"

USER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)
RESERVED = ("me",)  # /users/me is whoever asks
_MOST_HOLDERS = 10_000


@dataclass(frozen=True)
class User:
    """An account."""

    name: str
    role: str
    created_at: float
    disabled: bool = False
    has_password: bool = False
    stamp: str = ""


class Accounts:
    """All accounts of an installation. `redis` decodes responses; `apart` runs what computes for long; `together`
    asks several commands in a trip that others may share, with an error for one that is refused, or gives None."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        apart: Callable[..., Any] = lambda call, *given: call(*given),
        together: Callable[[Sequence[tuple[Any, ...]]], list[Any] | None] = lambda _: None,
    ):
        self._together = together
        self._redis = redis
        self._apart = apart
        self._keys = keys
        self._tokens = Tokens(redis, keys)
        self._holders: dict[str, str] = {}  # of tokens that were accepted, by id: a token never changes hands

    def verify(self, token: str, beside: Question | None = None) -> Principal | None:
        """Who holds `token`; None where it is mistyped, unknown, revoked or expired, or its user is disabled.

        One round trip, where this process knows whose it is; then `beside` is asked in it.
        """
        users: dict[str, dict[str, str]] = {}

        def read(token_id: str) -> dict[str, str]:
            holder = self._holders.get(token_id, "")
            commands = [("HGETALL", self._keys.api_token(token_id)), ("HGETALL", self._keys.user(holder))]
            asked = [*commands, beside.command] if beside and holder else commands
            record, user, *others = self._together(asked) or self._alone(asked)
            users[holder] = _fields(user)
            for reply in others:
                cast(Question, beside).take(reply)
            return _fields(record)

        found = self._tokens.verify(token, read)
        if found is not None:
            if len(self._holders) >= _MOST_HOLDERS:
                self._holders.clear()
            self._holders[found.id] = found.user
        return self._principal(found, users)

    def principal(self, token_id: str) -> Principal | None:
        """Whose token this is, for someone who has shown it before; None where it would not be accepted now."""
        return self._principal(self._tokens.get(token_id))

    def check_password(self, name: str, password: str) -> User | None:
        """The user who has this password; None for nobody. Takes about 0.1 s of CPU, whatever it finds."""
        known = USER_NAME.fullmatch(name) is not None
        kept = cast(str | None, self._redis.hget(self._keys.user(name), "password")) if known else None
        if not self._apart(passwords.matches, kept or "", password):
            return None
        user = self.user(name)
        if user.disabled:
            return None
        if passwords.outdated(kept or ""):
            self._renew(name, kept or "", self._apart(passwords.digest, password))
        return user

    def create_user(self, name: str, role: str = "user") -> User:
        """Add an account. Raises DCloudError where the name or the role is none; Taken."""
        try:
            user_name(name)
        except ValueError as error:
            raise DCloudError(f"{name!r} {error}.") from None
        _check_role(role)
        if not self._redis.hsetnx(self._keys.user(name), "role", role):
            raise Taken(f"There is a user {name} already.")
        with self._redis.pipeline() as pipe:
            pipe.hset(self._keys.user(name), "created", f"{time.time():.3f}")
            pipe.sadd(self._keys.users(), name)
            pipe.execute()
        return self.user(name)

    def exists(self, name: str) -> bool:
        """Whether there is an account of this name; `name` may be anything."""
        return USER_NAME.fullmatch(name) is not None and bool(self._redis.exists(self._keys.user(name)))

    def user(self, name: str) -> User:
        """Raises NotFound."""
        [found] = self._users([name])
        if found is None:
            raise NotFound(f"There is no user {name}.")
        return found

    def users(self, after: str = "", limit: int | None = None) -> list[User]:
        """Accounts by name: those after `after`, at most `limit`."""
        names = sorted(name for name in cast(set[str], self._redis.smembers(self._keys.users())) if name > after)
        return [user for user in self._users(names[:limit]) if user is not None]

    def set_role(self, name: str, role: str) -> User:
        """Make a user an admin or an admin a user. Raises NotFound; DCloudError for a role that there is not."""
        return self.change(name, lambda user: replace(user, role=role))

    def set_password(self, name: str, password: str, seen: Callable[[User], object] = any_version) -> User:
        """`seen` looks at the account as it is at that moment. Raises NotFound; DCloudError for a password that is no
        good one; whatever `seen` raises."""
        if problem := passwords.problem(password, name):
            raise DCloudError(problem)
        kept = self._apart(passwords.digest, password)

        def changed(user: User) -> dict[str, str]:
            seen(user)
            return {"password": kept}

        return self._change(name, changed)

    def set_disabled(self, name: str, disabled: bool) -> User:
        """A disabled account can do nothing; what it has stays. Raises NotFound."""
        return self.change(name, lambda user: replace(user, disabled=disabled))

    def change(self, name: str, change: Callable[[User], User]) -> User:
        """Give an account the role that `change` makes of it as it is at that moment, and disable or enable it.

        Raises NotFound; DCloudError for a role that there is not; whatever `change` raises.
        """

        def changed(user: User) -> dict[str, str]:
            wanted = change(user)
            _check_role(wanted.role)
            same = (wanted.role, wanted.disabled) == (user.role, user.disabled)
            return {} if same else {"role": wanted.role, "disabled": "1" if wanted.disabled else ""}

        return self._change(name, changed)

    def create_token(
        self,
        user: str,
        label: str = "",
        scopes: Collection[str] = SCOPES,
        lifetime_seconds: float | None = None,
        kind: str = "user",
    ) -> str:
        """A new token of `user`, to be shown once. Raises NotFound, Unsuitable; DCloudError for an unknown scope."""
        self.user(user)
        return self._tokens.create(user, label, scopes, lifetime_seconds, kind)

    def rotate(self, user: str, token_id: str, overlap_seconds: float, seen: Seen = any_version) -> str:
        """A token that replaces this one of `user`, which ends after the overlap. `seen` looks at it at that moment.

        Raises NotFound, Unsuitable, whatever `seen` raises.
        """
        token = self.token(token_id)
        if token is None or token.user != user:
            raise NotFound(f"{user} has no token {token_id}.")
        return self._tokens.rotate(token, overlap_seconds, seen)

    def token(self, token_id: str) -> Token | None:
        """The token with this id, an expired one too."""
        return self._tokens.find(token_id)

    def tokens(self, user: str) -> list[Token]:
        """The tokens of `user`, oldest first."""
        return self._tokens.of(user)

    def revoke(self, user: str, token_id: str, seen: Seen = any_version) -> None:
        """End a token of `user` at once. `seen` looks at it at that moment. Raises NotFound, whatever `seen` raises."""
        self._tokens.revoke(user, token_id, seen)

    def secret(self, name: str) -> str:
        """The random secret called `name`, the same for all processes of this installation; made at first use."""
        self._redis.set(self._keys.secret(name), secrets.token_hex(32), nx=True)
        return cast(str, self._redis.get(self._keys.secret(name)))

    def _alone(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The same in a trip of our own, which says what is wrong. Raises RedisError."""
        with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            return pipe.execute(raise_on_error=False)

    def _principal(self, token: Token | None, read: Mapping[str, dict[str, str]] | None = None) -> Principal | None:
        """Who holds a token. `read` are records of users, as they are now."""
        if token is None:
            return None
        record = (read or {}).get(token.user)
        user = self._users([token.user])[0] if record is None else _user(token.user, record)
        if user is None or user.disabled:
            return None
        return Principal(user.name, user.role, token.scopes, token.id, token.expires_at)

    def _change(self, name: str, changed: Callable[[User], dict[str, str]]) -> User:
        """Write the fields that `changed` gives for an account, as long as nobody else has changed it meanwhile."""
        key = self._keys.user(name)

        def step(pipe: Pipeline) -> None:
            user = _user(name, cast(dict[str, str], pipe.hgetall(key)))
            if user is None:
                raise NotFound(f"There is no user {name}.")
            fields = changed(user)
            pipe.multi()
            if fields:
                pipe.hset(key, mapping=cast(Any, {**fields, "stamp": secrets.token_hex(8)}))

        self._redis.transaction(cast(Any, step), key)
        return self.user(name)

    def _renew(self, name: str, kept: str, renewed: str) -> None:
        """Keep a password in another form, where it still is the one."""
        key = self._keys.user(name)

        def step(pipe: Pipeline) -> None:
            same = pipe.hget(key, "password") == kept
            pipe.multi()
            if same:
                pipe.hset(key, "password", renewed)

        self._redis.transaction(cast(Any, step), key)

    def _users(self, names: list[str]) -> list[User | None]:
        with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hgetall(self._keys.user(name))
            return [_user(name, record) for name, record in zip(names, pipe.execute(), strict=True)]


def user_name(text: str) -> str:
    """`text`, where it is a name that an account may have. Raises ValueError with the end of a sentence."""
    if not USER_NAME.fullmatch(text) or text in RESERVED:
        raise ValueError("is not a user name: 1 to 32 of a-z, 0-9, '.', '_' and '-', and not 'me'")
    return text


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


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise DCloudError(f"{role!r} is not a role. Choose one of {', '.join(ROLES)}.")


def _fields(reply: Any) -> dict[str, str]:
    """A hash as Redis answers it, by either version of its protocol. Raises RedisError where it refused."""
    if isinstance(reply, Exception):
        raise reply
    return reply if isinstance(reply, dict) else dict(zip(*[iter(reply)] * 2, strict=True))


def _user(name: str, r: dict[str, str]) -> User | None:
    if not r:
        return None
    return User(
        name=name, role=r["role"], created_at=float(r.get("created", 0)), disabled=r.get("disabled") == "1",
        has_password=bool(r.get("password")), stamp=r.get("stamp", ""),
    )  # fmt: skip
