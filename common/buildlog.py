"""The build log of an environment: a capped Redis stream, one entry a line.

Written by the worker that builds, read by the API. Lines hold no control characters, so that a
library's output can neither forge another line nor drive somebody's terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from redis import OutOfMemoryError, Redis

from common.connection import translated
from common.keys import Keys
from common.lines import clean

MAX_LINES = 5000
KEPT_SECONDS = 30 * 86400


@dataclass(frozen=True)
class Line:
    """One line. `id` orders and resumes: it is the Redis stream id."""

    id: str
    text: str

    @property
    def at(self) -> float:
        """Seconds since the epoch by Redis' clock."""
        return int(self.id.partition("-")[0]) / 1000


class BuildLog:
    """The build logs of all environments. `redis` decodes responses."""

    def __init__(self, redis: Redis, keys: Keys):
        self._redis = redis
        self._keys = keys

    def append(self, env_id: str, lines: Iterable[str]) -> None:
        """Add lines in one round trip; only the newest MAX_LINES are kept, for KEPT_SECONDS after the last.

        A Redis whose memory is full keeps none of them: what is under way goes on. Raises RedisUnavailable.
        """
        key = self._keys.build_log(env_id)
        with translated(), suppress(OutOfMemoryError), self._redis.pipeline(transaction=False) as pipe:
            for line in lines:
                pipe.xadd(key, {"text": clean(line)}, maxlen=MAX_LINES, approximate=True)
            if len(pipe):
                pipe.expire(key, KEPT_SECONDS)
                pipe.execute()

    def read(self, env_id: str, after: str = "0", limit: int = 1000) -> list[Line]:
        """At most `limit` lines after the line with the id `after`."""
        entries = self._redis.xrange(self._keys.build_log(env_id), min=f"({after}", max="+", count=limit)
        return [Line(entry_id, values["text"]) for entry_id, values in cast(list[Any], entries)]

    def remove(self, env_id: str) -> None:
        """Forget the log."""
        self._redis.delete(self._keys.build_log(env_id))
