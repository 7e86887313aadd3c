"""The lock of each environment, for its user to read: written by the worker that made it, read by the API.

Kept as long as the environment; KEPT_SECONDS after its last start where its host vanished and nobody removed it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import cast

from redis import OutOfMemoryError, Redis

from common.connection import translated
from common.keys import Keys

KEPT_SECONDS = 400 * 86400


class Locks:
    """The locks of all environments. `redis` decodes responses."""

    def __init__(self, redis: Redis, keys: Keys):
        self._redis = redis
        self._keys = keys

    def put(self, env_id: str, lock: str) -> None:
        """Keep the lock that an environment is made with, unless Redis' memory is full. Raises RedisUnavailable."""
        with translated(), suppress(OutOfMemoryError):
            self._redis.set(self._keys.lock(env_id), lock, ex=KEPT_SECONDS)

    def get(self, env_id: str) -> str | None:
        """The lock, None where its libraries have not been resolved."""
        return cast(str | None, self._redis.get(self._keys.lock(env_id)))

    def remove(self, env_id: str) -> None:
        """Forget the lock. Raises RedisUnavailable."""
        with translated():
            self._redis.delete(self._keys.lock(env_id))
