"""API tokens: `dc_<kind>_<id>_<secret><checksum>`.

The kind says what holds it: u a user's own program, s a service, c the command after `dcloud login`. The id finds
the record, the checksum refuses a mistyped token without asking Redis. Redis keeps SHA-256 of the whole token, so
that its content opens nothing.

  api_token(id)      hash    kind digest user label scopes created expires used replaced; times are seconds since the
                             epoch; gone KEEP_EXPIRED_SECONDS after it expired
  api_tokens(user)   set     ids
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline

from common import ids
from common.errors import DCloudError, NotFound, Unsuitable
from common.keys import Keys
from common.principal import SCOPES
from common.versions import any_version

KINDS = {"user": "u", "service": "s", "command": "c"}
TOKEN = re.compile(
    rf"dc_([{''.join(KINDS.values())}])_([{ids.ALPHABET}]{{10}})_([{ids.ALPHABET}]{{32}})([{ids.ALPHABET}]{{7}})",
    re.ASCII,
)
MOST_A_USER = 100
KEEP_EXPIRED_SECONDS = 30 * 86400

_USED_PRECISION_SECONDS = 600  # the last use is written at most this often: each write is an fsync


@dataclass(frozen=True)
class Token:
    """An API token, without its secret. Times are seconds since the epoch; None is never."""

    id: str
    kind: str
    user: str
    label: str
    scopes: frozenset[str]
    created_at: float
    expires_at: float | None
    used_at: float | None
    replaced_by: str  # the id of the token that it was rotated to; "" is none

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and time.time() >= self.expires_at


Seen = Callable[[Token], object]  # looks at a token before it is changed, and raises where that will not do


class Tokens:
    """The records of all tokens. Whether their users still count is for `Accounts` to say."""

    def __init__(self, redis: Redis, keys: Keys):
        self._redis = redis
        self._keys = keys

    def verify(self, text: str, read: Callable[[str], dict[str, str]] | None = None) -> Token | None:
        """The token that `text` is; None where it is mistyped, unknown, revoked or expired.

        `read` gets the record of an id, for a caller who wants more in the same round trip.
        """
        match = TOKEN.fullmatch(text)
        if match is None or _checksum(text[:-7]) != match[4]:
            return None
        record = (read or self._record)(match[2])
        if not hmac.compare_digest(record.get("digest", ""), _digest(text)):
            return None
        return self._alive(match[2], record)

    def get(self, token_id: str) -> Token | None:
        """The token with this id, for someone who has shown it before; None where it was revoked or has expired."""
        record = self._record(token_id)
        return self._alive(token_id, record) if "digest" in record else None

    def find(self, token_id: str) -> Token | None:
        """The token with this id, an expired one too; looking is not using."""
        record = self._record(token_id)
        return _token(token_id, record) if "digest" in record else None

    def create(
        self, user: str, label: str, scopes: Collection[str], lifetime_seconds: float | None, kind: str = "user"
    ) -> str:
        """A new token, to be shown once. Raises DCloudError for a scope or kind that there is not, Unsuitable."""
        if unknown := set(scopes) - set(SCOPES):
            raise DCloudError(f"{min(unknown)!r} is not a scope. Choose from {', '.join(SCOPES)}.")
        if kind not in KINDS:
            raise DCloudError(f"{kind!r} is not a kind of token. Choose from {', '.join(KINDS)}.")
        self._refuse_too_many(user)
        text = _fresh(kind)
        with self._redis.pipeline() as pipe:
            self._write(pipe, text, user, label, scopes, lifetime_seconds)
            pipe.execute()
        return text

    def of(self, user: str) -> list[Token]:
        """The tokens of `user`, oldest first, expired ones too."""
        token_ids = list(cast(set[str], self._redis.smembers(self._keys.api_tokens(user))))
        with self._redis.pipeline(transaction=False) as pipe:
            for token_id in token_ids:
                pipe.hgetall(self._keys.api_token(token_id))
            records = dict(zip(token_ids, pipe.execute(), strict=True))
        gone = [token_id for token_id, record in records.items() if "digest" not in record]
        if gone:
            self._redis.srem(self._keys.api_tokens(user), *gone)
        found = [_token(token_id, record) for token_id, record in records.items() if "digest" in record]
        return sorted(found, key=lambda token: (token.created_at, token.id))

    def revoke(self, user: str, token_id: str, seen: Seen = any_version) -> None:
        """End a token of `user` at once. `seen` looks at it at that moment. Raises NotFound, whatever `seen` raises."""

        def step(token: Token | None, pipe: Pipeline) -> None:
            if token is None or token.user != user:
                raise NotFound(f"{user} has no token {token_id}.")
            seen(token)
            pipe.srem(self._keys.api_tokens(user), token_id)
            pipe.delete(self._keys.api_token(token_id))

        self._transact(token_id, step)

    def rotate(self, token: Token, overlap_seconds: float, seen: Seen = any_version) -> str:
        """A token like this one, with its whole lifetime again; the old one ends after the overlap.

        `seen` looks at it at that moment. Raises Unsuitable where it was rotated before, and where it has ended;
        whatever `seen` raises.
        """
        self._refuse_too_many(token.user)
        text = _fresh(token.kind)

        def step(now: Token | None, pipe: Pipeline) -> None:
            if now is not None:
                seen(now)
            if now is None or now.expired or now.replaced_by:
                raise Unsuitable(
                    f"The token {token.id} has ended or was rotated already. Use the one that replaced it."
                )
            lifetime = None if now.expires_at is None else now.expires_at - now.created_at
            self._write(pipe, text, now.user, now.label, now.scopes, lifetime)
            until = min(time.time() + max(overlap_seconds, 0.001), now.expires_at or float("inf"))
            key = self._keys.api_token(now.id)
            pipe.hset(key, mapping={"expires": f"{until:.3f}", "replaced": id_of(text)})
            pipe.expireat(key, int(until + KEEP_EXPIRED_SECONDS))

        self._transact(token.id, step)
        return text

    def _alive(self, token_id: str, record: dict[str, str]) -> Token | None:
        token, now = _token(token_id, record), time.time()
        if token.expired:
            return None
        if now - (token.used_at or 0) > _USED_PRECISION_SECONDS:
            self._transact(token_id, lambda found, pipe: self._note_use(found, pipe, now))
        return token

    def _note_use(self, token: Token | None, pipe: Pipeline, now: float) -> None:
        if token is not None:  # one that was revoked meanwhile stays gone
            pipe.hset(self._keys.api_token(token.id), "used", f"{now:.3f}")

    def _transact(self, token_id: str, step: Callable[[Token | None, Pipeline], None]) -> None:
        """Do what `step` puts into the pipeline for a token as it is now, as long as nobody changes it meanwhile."""
        key = self._keys.api_token(token_id)

        def watched(pipe: Pipeline) -> None:
            record = cast(dict[str, str], pipe.hgetall(key))
            pipe.multi()
            step(_token(token_id, record) if "digest" in record else None, pipe)

        self._redis.transaction(cast(Any, watched), key)

    def _refuse_too_many(self, user: str) -> None:
        if len(self.of(user)) >= MOST_A_USER:
            raise Unsuitable(f"{user} has {MOST_A_USER} tokens already. Revoke those that nobody uses.")

    def _write(
        self, pipe: Pipeline, text: str, user: str, label: str, scopes: Collection[str], lifetime_seconds: float | None
    ) -> None:
        token_id, now = id_of(text), time.time()
        key = self._keys.api_token(token_id)
        record = {
            "kind": next(kind for kind, letter in KINDS.items() if letter == text[3]),
            "digest": _digest(text),
            "user": user,
            "label": label,
            "scopes": " ".join(sorted(scopes)),
            "created": f"{now:.3f}",
            "expires": f"{now + lifetime_seconds:.3f}" if lifetime_seconds else "",
            "used": "",
            "replaced": "",
        }
        pipe.hset(key, mapping=cast(Any, record))
        if lifetime_seconds:
            pipe.expireat(key, int(now + lifetime_seconds + KEEP_EXPIRED_SECONDS))
        pipe.sadd(self._keys.api_tokens(user), token_id)

    def _record(self, token_id: str) -> dict[str, str]:
        return cast(dict[str, str], self._redis.hgetall(self._keys.api_token(token_id)))


def id_of(text: str) -> str:
    """The id in a token."""
    return text.split("_")[2]


def _fresh(kind: str) -> str:
    body = f"dc_{KINDS[kind]}_{ids.random_text(10)}_{ids.random_text(32)}"
    return body + _checksum(body)


def _token(token_id: str, r: dict[str, str]) -> Token:
    return Token(
        id=token_id, kind=r.get("kind", "user"), user=r["user"], label=r["label"],
        scopes=frozenset(r["scopes"].split()), created_at=float(r["created"]), expires_at=_time(r["expires"]),
        used_at=_time(r["used"]), replaced_by=r.get("replaced", ""),
    )  # fmt: skip


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(text: str) -> str:
    return ids.encode(zlib.crc32(text.encode()), 7)


def _time(text: str) -> float | None:
    return float(text) if text else None
