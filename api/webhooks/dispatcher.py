"""The dispatcher: looks at every step of environments whose owners have webhooks, and has what is owed sent.

The feed says only that something happened; a look at all of it, at the start and every LOOK_SECONDS, finds what was
missed. Sending is a Celery task, which is only a nudge: what is owed stands in Redis until it was delivered.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable

from redis import Redis, RedisError
from redis.client import PubSub

from api import wire
from common.errors import NotFound, RedisUnavailable
from common.ledger import Ledger
from common.webhooks import Webhooks, owed

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
TURN_SECONDS = 4.0  # between two looks at what is due, while nothing happens
EVENTS = 1000


class Dispatcher:
    """One thread. `send` asks for a delivery to be tried."""

    def __init__(self, ledger: Ledger, webhooks: Webhooks, feed: Redis, send: Callable[[str], object]):
        self._ledger = ledger
        self._webhooks = webhooks
        self._feed = feed  # with a timeout above TURN_SECONDS
        self._send = send
        self._stop = threading.Event()
        self._asked: dict[str, float] = {}

    def run(self) -> None:
        """Until `stop`."""
        while not self._stop.is_set():
            try:
                with PubSub(self._feed.connection_pool) as subscription:
                    subscription.subscribe(self._ledger.keys.feed())
                    self._listen(subscription)
            except (RedisError, RedisUnavailable) as error:
                log.warning("webhooks wait for Redis: %s", error)
                self._stop.wait(1.0)
            except Exception:
                log.exception("webhooks go on")
                self._stop.wait(1.0)

    def stop(self) -> None:
        """End after the present turn."""
        self._stop.set()

    def look(self) -> None:
        """At all environments of all who have webhooks."""
        for owner in self._webhooks.owners():
            told = self._webhooks.told(owner)
            seen, cursor = set(), ""
            while True:
                found, cursor = self._ledger.environments(owner, limit=100, cursor=cursor)
                for environment in found:
                    seen.add(environment.id)
                    self.tell(environment.id)
                if not cursor:
                    break
            self._webhooks.forget(owner, set(told) - seen)

    def tell(self, env_id: str) -> None:
        """Owe what webhooks are to be told of an environment."""
        try:
            environment = self._ledger.get(env_id)
        except NotFound:
            return
        owner = environment.owner
        if not self._webhooks.has(owner):
            return
        after, state = self._webhooks.told(owner).get(env_id, ("0", ""))
        events = self._ledger.events(env_id, after, EVENTS)
        if not events:
            return
        found = owed(self._webhooks.of(owner), env_id, environment.name, events, state, wire.time)
        self._webhooks.tell(owner, env_id, (events[-1].id, events[-1].state.value), found)

    def dispatch(self) -> None:
        """Have sent what is due; what was asked for a moment ago is not asked for again."""
        now = time.monotonic()
        self._asked = {one: at for one, at in self._asked.items() if now - at < LOOK_SECONDS}
        for delivery_id in self._webhooks.due():
            if delivery_id not in self._asked:
                self._asked[delivery_id] = now
                self._send(delivery_id)

    def _listen(self, subscription: PubSub) -> None:
        next_look = 0.0
        while not self._stop.is_set():
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + LOOK_SECONDS
                self._asked.clear()
                self.look()
            message = subscription.get_message(timeout=TURN_SECONDS)
            if message is not None and message["type"] == "message":
                self.tell(json.loads(message["data"])["env"])
            self.dispatch()
