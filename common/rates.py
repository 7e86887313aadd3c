"""How many requests somebody may make: a count for windows of WINDOW_SECONDS, kept by all processes together.

  rate(who, window)   string   requests that were told, gone soon after the window

A process tells Redis only each twentieth part of what is allowed, because each write there is an fsync. So somebody who
asks seldom costs nothing, and somebody who asks too often gets through with at most a twentieth more a process.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import cast

from redis import Redis, RedisError

from common.errors import TooMany
from common.keys import Keys

WINDOW_SECONDS = 10
PARTS = 20
MOST_KNOWN = 100_000  # of whom a process counts at the same time


@dataclass
class _Count:
    told: int = 0  # by all processes
    own: int = 0  # not told yet


class Rates:
    """The counts of this process. `redis` decodes responses; `most_a_minute` 0 is no limit."""

    def __init__(self, redis: Redis, keys: Keys, most_a_minute: int):
        self._redis = redis
        self._keys = keys
        self._most = most_a_minute * WINDOW_SECONDS // 60 if most_a_minute else 0
        self._lock = threading.Lock()
        self._window = 0
        self._counts: dict[str, _Count] = {}

    def spend(self, who: str) -> None:
        """Count a request. Raises TooMany, with the seconds until the next window."""
        if not self._most:
            return
        now = time.time()
        window = int(now / WINDOW_SECONDS)
        with self._lock:
            if window != self._window or len(self._counts) > MOST_KNOWN:
                self._window, self._counts = window, {}
            count = self._counts.setdefault(who, _Count())
            count.own += 1
            over, tell = count.told + count.own > self._most, 0
            if not over and count.own * PARTS >= self._most:
                tell, count.told, count.own = count.own, count.told + count.own, 0
        if over:
            wait = max(1, round((window + 1) * WINDOW_SECONDS - now))
            raise TooMany(f"More than {self._most * 60 // WINDOW_SECONDS} requests a minute. Wait, then go on.", wait)
        if tell:
            self._tell(who, window, tell, count)

    def _tell(self, who: str, window: int, number: int, count: _Count) -> None:
        key = self._keys.rate(who, window)
        try:
            with self._redis.pipeline() as pipe:
                pipe.incrby(key, number)
                pipe.expire(key, 2 * WINDOW_SECONDS)
                count.told = max(count.told, cast(int, pipe.execute()[0]))
        except RedisError:
            return  # what the request wants of Redis fails by itself, and says so
