"""What somebody has begun and is to finish soon: kept under the SHA-256 of a secret that only they have.

pending(kind, digest)   string   JSON, gone after its time
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, cast

from redis import Redis

from common import ids
from common.keys import Keys


class Pending:
    """All of one kind. `redis` decodes responses."""

    def __init__(self, redis: Redis, keys: Keys, kind: str):
        self._redis = redis
        self._keys = keys
        self._kind = kind

    def begin(self, values: dict[str, Any], seconds: float) -> str:
        """Keep the values for so long; the secret under which they are found."""
        secret = ids.random_text(40)
        self.keep(secret, values, seconds)
        return secret

    def keep(self, secret: str, values: dict[str, Any], seconds: float) -> None:
        """Keep other values under the same secret."""
        self._redis.set(self._key(secret), json.dumps(values), px=max(int(seconds * 1000), 1))

    def look(self, secret: str) -> dict[str, Any] | None:
        """The values; None where they are gone."""
        text = cast(str | None, self._redis.get(self._key(secret)))
        return json.loads(text) if text else None

    def take(self, secret: str) -> dict[str, Any] | None:
        """The values, for the only time."""
        text = cast(str | None, self._redis.getdel(self._key(secret)))
        return json.loads(text) if text else None

    def _key(self, secret: str) -> str:
        return self._keys.pending(self._kind, hashlib.sha256(secret.encode(errors="replace")).hexdigest())
