"""How often somebody may try to sign in before they have to wait.

  attempts(kind, who)   string   failures within WINDOW_SECONDS

They are counted before the password is looked at, so that many tries at once gain nothing, and forgotten for a name at
an address when one of them was right. A name alone has a higher limit: a stranger who tries it from afar can lock its
owner out only at great cost, and never where the owner has a token.
"""

from __future__ import annotations

import hashlib
from typing import cast

from redis import Redis

from common.errors import TooMany
from common.keys import Keys

WINDOW_SECONDS = 15 * 60
MOST = {"both": 10, "address": 60, "name": 200}


class Attempts:
    """The attempts of everybody. `redis` decodes responses."""

    def __init__(self, redis: Redis, keys: Keys):
        self._redis = redis
        self._keys = keys

    def count(self, name: str, address: str) -> None:
        """Note one. Raises TooMany, with the seconds after which it makes sense again."""
        keys = self._names(name, address)
        with self._redis.pipeline() as pipe:
            for key in keys.values():
                pipe.incr(key)
                pipe.expire(key, WINDOW_SECONDS, nx=True)
                pipe.ttl(key)
            replies = cast(list[int], pipe.execute())
        counts, left = replies[0::3], replies[2::3]
        over = [seconds for most, count, seconds in zip(MOST.values(), counts, left, strict=True) if count > most]
        if over:
            raise TooMany("Too many attempts to sign in. Wait, or use an API token.", max(*over, 1))

    def forget(self, name: str, address: str) -> None:
        """One was right: those before it were slips."""
        keys = self._names(name, address)
        with self._redis.pipeline() as pipe:
            pipe.delete(keys["both"])
            pipe.decr(keys["address"])
            pipe.decr(keys["name"])
            pipe.execute()

    def _names(self, name: str, address: str) -> dict[str, str]:
        # what somebody typed as a name may be anything, a password too
        hashed = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:32]
        keys = self._keys
        return {
            "both": keys.attempts("both", f"{hashed}:{address}"),
            "address": keys.attempts("address", address),
            "name": keys.attempts("name", hashed),
        }
