"""One Redis subscription a process wakes everyone who watches an environment.

A message says only that something happened; whoever is woken reads the event stream after the last
event that it has, so that nothing is lost or doubled when a message is. Of those who are woken together
and have the same last event one reads for all.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from redis import Redis, RedisError
from redis.client import PubSub

from common.keys import Keys

log = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0
LISTEN_SECONDS = 15.0


Found = TypeVar("Found")


@dataclass
class _Group:
    """Who watches one environment."""

    wakes: set[threading.Event] = field(default_factory=set)
    messages: int = 0  # so far
    reading: threading.Lock = field(default_factory=threading.Lock)
    read: tuple[tuple[str, int], Any] = (("", -1), None)  # after which event and message, and what was found


class Feed:
    """Wakes watchers. The reader starts with the first of them and lives as long as the process."""

    def __init__(self, redis: Redis, keys: Keys):
        self._redis = redis
        self._channel = keys.feed()
        self._lock = threading.Lock()
        self._watchers: dict[str, _Group] = {}
        self._reader: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def watch(self, env_id: str) -> Iterator[threading.Event]:
        """An event that is set whenever something may have happened to the environment. Clear it, then read."""
        wake = threading.Event()
        with self._lock:
            self._watchers.setdefault(env_id, _Group()).wakes.add(wake)
            if self._reader is None:
                self._reader = threading.Thread(target=self._read, name="feed", daemon=True)
                self._reader.start()
        try:
            yield wake
        finally:
            with self._lock:
                self._watchers[env_id].wakes.discard(wake)
                if not self._watchers[env_id].wakes:
                    del self._watchers[env_id]

    def shared(self, env_id: str, after: str, read: Callable[[], Found]) -> Found:
        """What `read()` finds after the event `after`, read once for all who are woken by the same message.

        For those who watch the environment and were woken. What `read` raises is nobody else's.
        """
        with self._lock:
            group = self._watchers[env_id]
        with group.reading:
            key = (after, group.messages)  # before it reads: a message that comes meanwhile makes others read again
            if group.read[0] != key:
                group.read = (key, read())
            return cast(Found, group.read[1])

    def close(self) -> None:
        """Let the reader end. Nobody may watch after it."""
        self._closed = True
        if self._reader is not None:
            self._redis.publish(self._channel, json.dumps({"env": ""}))
            self._reader.join()

    def watchers(self) -> int:
        """How many are watching."""
        with self._lock:
            return sum(len(group.wakes) for group in self._watchers.values())

    def _read(self) -> None:
        while not self._closed:
            try:
                with PubSub(self._redis.connection_pool) as subscription:
                    subscription.subscribe(self._channel)
                    self._listen(subscription)
            except RedisError as error:
                log.warning("the feed lost Redis and connects again: %s", error)
                time.sleep(RECONNECT_SECONDS)
            except Exception:  # whatever it is, nobody who watches may be left asleep
                log.exception("the feed broke and begins again")
                time.sleep(RECONNECT_SECONDS)

    def _listen(self, subscription: PubSub) -> None:
        while not self._closed:
            message = subscription.get_message(timeout=LISTEN_SECONDS)
            if message is None:
                continue
            if message["type"] == "subscribe":
                self._wake(None)  # what happened while nobody listened
            elif message["type"] == "message":
                self._wake(json.loads(message["data"])["env"])

    def _wake(self, env_id: str | None) -> None:
        with self._lock:
            groups = self._watchers.values() if env_id is None else [self._watchers.get(env_id, _Group())]
            for group in groups:
                group.messages += 1
                for wake in group.wakes:
                    wake.set()
