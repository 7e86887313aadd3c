"""One Redis subscription a process wakes everyone who watches an environment.

A message says only that something happened; whoever is woken reads the event stream after the last
event that it has, so that nothing is lost or doubled when a message is.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis, RedisError
from redis.client import PubSub

from common.keys import Keys

log = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0
LISTEN_SECONDS = 15.0


class Feed:
    """Wakes watchers. The reader starts with the first of them and lives as long as the process."""

    def __init__(self, redis: Redis, keys: Keys):
        self._redis = redis
        self._channel = keys.feed()
        self._lock = threading.Lock()
        self._watchers: dict[str, set[threading.Event]] = {}
        self._reader: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def watch(self, env_id: str) -> Iterator[threading.Event]:
        """An event that is set whenever something may have happened to the environment. Clear it, then read."""
        wake = threading.Event()
        with self._lock:
            self._watchers.setdefault(env_id, set()).add(wake)
            if self._reader is None:
                self._reader = threading.Thread(target=self._read, name="feed", daemon=True)
                self._reader.start()
        try:
            yield wake
        finally:
            with self._lock:
                self._watchers[env_id].discard(wake)
                if not self._watchers[env_id]:
                    del self._watchers[env_id]

    def close(self) -> None:
        """Let the reader end. Nobody may watch after it."""
        self._closed = True
        if self._reader is not None:
            self._redis.publish(self._channel, json.dumps({"env": ""}))
            self._reader.join()

    def watchers(self) -> int:
        """How many are watching."""
        with self._lock:
            return sum(len(wakes) for wakes in self._watchers.values())

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
            groups = self._watchers.values() if env_id is None else [self._watchers.get(env_id, set())]
            for wakes in groups:
                for wake in wakes:
                    wake.set()
