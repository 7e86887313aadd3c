"""Webhooks: who wants to be told of what, and what still has to reach them. The only reader and writer of these keys.

  webhook(id)            string  JSON: owner url states secret created, and of the last delivery last_at last_status
                                 last_error failures
  webhooks_of(owner)     set     ids
  webhook_owners         set     owners with webhooks
  webhooks_told(owner)   hash    environment → "event state": how far its history was looked at
  webhook_delivery(id)   string  JSON: hook url secret body attempt; gone once it was delivered or given up
  webhook_busy(id)       string  somebody tries it just now
  webhook_due            zset    delivery → when it is tried next, seconds since the epoch

A delivery is in Redis before anybody is asked to send it, and its id is made of the webhook and the event. So whatever
dies, what is owed is sent again, and what is sent twice has the same id.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline

from common import ids
from common.environment import Event
from common.errors import NotFound, Unsuitable
from common.keys import Keys
from common.states import State
from common.versions import any_version

MAX_OF_ONE = 20
# Of Standard Webhooks: about three days in all.
BACKOFF_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
KEPT_SECONDS = 7 * 86400  # a delivery that nobody sends for so long is nobody's any more


@dataclass(frozen=True)
class Webhook:
    """Where an owner wants to be told that an environment came to one of `states`. Times: seconds since the epoch."""

    id: str
    owner: str
    url: str
    states: tuple[str, ...]
    secret: str  # "whsec_" and base64
    created_at: float
    last_at: float | None = None
    last_status: int | None = None  # of the last try; None where there was no answer
    last_error: str = ""
    failures: int = 0  # in a row


@dataclass(frozen=True)
class Delivery:
    """One message on its way. `id` is the `webhook-id`."""

    id: str
    hook_id: str
    body: str
    attempt: int = 0  # tries so far


class Webhooks:
    """All webhooks of an installation. `redis` decodes responses."""

    def __init__(self, redis: Redis, keys: Keys):
        self._redis = redis
        self._keys = keys

    def create(self, owner: str, url: str, states: Collection[str]) -> Webhook:
        """Add one. Raises Unsuitable where its owner has too many."""
        if self._redis.scard(self._keys.webhooks_of(owner)) >= MAX_OF_ONE:
            raise Unsuitable(f"{owner} has {MAX_OF_ONE} webhooks already. Delete one first.")
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        seconds, micros = self._redis.time()  # the clock of the events that it is compared with
        hook = Webhook(ids.new_id(), owner, url, tuple(states), secret, seconds + micros / 1e6)
        with self._redis.pipeline() as pipe:
            pipe.set(self._keys.webhook(hook.id), _write(hook))
            pipe.sadd(self._keys.webhooks_of(owner), hook.id)
            pipe.sadd(self._keys.webhook_owners(), owner)
            pipe.execute()
        return hook

    def get(self, hook_id: str) -> Webhook:
        """Raises NotFound."""
        return _read(hook_id, cast(str | None, self._redis.get(self._keys.webhook(hook_id))))

    def of(self, owner: str) -> list[Webhook]:
        """An owner's webhooks, oldest first."""
        found = []
        for hook_id in sorted(cast(set[str], self._redis.smembers(self._keys.webhooks_of(owner)))):
            try:
                found.append(self.get(hook_id))
            except NotFound:
                continue
        return found

    def owners(self) -> list[str]:
        """Who has webhooks."""
        return sorted(cast(set[str], self._redis.smembers(self._keys.webhook_owners())))

    def has(self, owner: str) -> bool:
        """Whether somebody has webhooks."""
        return bool(self._redis.sismember(self._keys.webhook_owners(), owner))

    def delete(self, hook: Webhook, seen: Callable[[Webhook], object] = any_version) -> None:
        """Take it away; what is on its way to it is given up. `seen` looks at it at that moment.

        Raises NotFound, whatever `seen` raises.
        """
        key = self._keys.webhook(hook.id)

        def step(pipe: Pipeline) -> None:
            seen(_read(hook.id, cast(str | None, pipe.get(key))))
            pipe.multi()
            pipe.delete(key)
            pipe.srem(self._keys.webhooks_of(hook.owner), hook.id)

        self._redis.transaction(cast(Any, step), key)
        if not self._redis.scard(self._keys.webhooks_of(hook.owner)):
            self._redis.srem(self._keys.webhook_owners(), hook.owner)
            self._redis.delete(self._keys.webhooks_told(hook.owner))

    def told(self, owner: str) -> dict[str, tuple[str, str]]:
        """How far each environment's history was looked at: the last event, and the state after it."""
        known = cast(dict[str, str], self._redis.hgetall(self._keys.webhooks_told(owner)))
        return {env_id: cast(tuple[str, str], tuple(text.split(" "))) for env_id, text in known.items()}

    def tell(self, owner: str, env_id: str, told: tuple[str, str], owed: list[Delivery]) -> None:
        """Owe these deliveries, and note how far the history was looked at; both or neither."""
        with self._redis.pipeline() as pipe:
            for delivery in owed:
                pipe.set(self._keys.webhook_delivery(delivery.id), _text(delivery), nx=True, ex=KEPT_SECONDS)
                pipe.zadd(self._keys.webhook_due(), {delivery.id: time.time()}, nx=True)
            pipe.hset(self._keys.webhooks_told(owner), env_id, " ".join(told))
            pipe.execute()

    def forget(self, owner: str, env_ids: Collection[str]) -> None:
        """These environments are no more."""
        if env_ids:
            self._redis.hdel(self._keys.webhooks_told(owner), *env_ids)

    def due(self, limit: int = 100) -> list[str]:
        """Deliveries whose time has come."""
        return cast(list[str], self._redis.zrangebyscore(self._keys.webhook_due(), 0, time.time(), 0, limit))

    def take(self, delivery_id: str, busy_seconds: float) -> tuple[Delivery, Webhook] | None:
        """A delivery to try now, and its webhook, which nobody else gets for so long. None for nothing to do."""
        if not self._redis.set(self._keys.webhook_busy(delivery_id), "1", nx=True, px=int(busy_seconds * 1000)):
            return None
        score = self._redis.zscore(self._keys.webhook_due(), delivery_id)
        text = cast(str | None, self._redis.get(self._keys.webhook_delivery(delivery_id)))
        if score is None or float(score) > time.time():
            self._redis.delete(self._keys.webhook_busy(delivery_id))
            return None
        try:
            delivery = Delivery(**json.loads(text)) if text else None
            hook = self.get(delivery.hook_id) if delivery else None
        except NotFound:
            hook = None
        if delivery is None or hook is None:
            self._drop(delivery_id)
            return None
        return delivery, hook

    def done(self, delivery: Delivery, hook: Webhook, status: int) -> None:
        """It was taken there."""
        self._drop(delivery.id)
        self._note(hook, status, "", 0)

    def failed(self, delivery: Delivery, hook: Webhook, status: int | None, error: str) -> float | None:
        """It was not: when it is tried again, seconds from now; None where it is given up."""
        self._note(hook, status, error, hook.failures + 1)
        if delivery.attempt >= len(BACKOFF_SECONDS):
            self._drop(delivery.id)
            return None
        pause = BACKOFF_SECONDS[delivery.attempt] * (0.9 + 0.2 * secrets.randbelow(1000) / 1000)
        later = replace(delivery, attempt=delivery.attempt + 1)
        with self._redis.pipeline() as pipe:
            pipe.set(self._keys.webhook_delivery(delivery.id), _text(later), xx=True, keepttl=True)
            pipe.zadd(self._keys.webhook_due(), {delivery.id: time.time() + pause}, xx=True)
            pipe.delete(self._keys.webhook_busy(delivery.id))
            pipe.execute()
        return pause

    def _drop(self, delivery_id: str) -> None:
        with self._redis.pipeline() as pipe:
            pipe.zrem(self._keys.webhook_due(), delivery_id)
            pipe.delete(self._keys.webhook_delivery(delivery_id), self._keys.webhook_busy(delivery_id))
            pipe.execute()

    def _note(self, hook: Webhook, status: int | None, error: str, failures: int) -> None:
        noted = replace(hook, last_at=time.time(), last_status=status, last_error=error[:300], failures=failures)
        self._redis.set(self._keys.webhook(hook.id), _write(noted), xx=True)


def message(hook: Webhook, env_id: str, name: str, event: Event, at: str) -> Delivery:
    """What a webhook is told of an event."""
    body = {
        "type": f"environment.{event.state.value}",
        "timestamp": at,
        "data": {
            "id": env_id,
            "name": name,
            "owner": hook.owner,
            "state": event.state.value,
            "reason": event.reason,
            "message": event.message,
            "host": event.host,
            "event": event.id,
        },
    }
    digest = hashlib.sha256(f"{hook.id} {env_id} {event.id}".encode()).hexdigest()
    return Delivery(f"msg_{digest[:32]}", hook.id, json.dumps(body, separators=(",", ":")))


def owed(
    hooks: Collection[Webhook], env_id: str, name: str, events: Collection[Event], state: str, at: Any
) -> list[Delivery]:
    """What webhooks are to be told of events that follow on `state`: each step to another. `at` writes a time."""
    found = []
    for event in events:
        if event.state.value != state:
            state = event.state.value
            found += [
                message(hook, env_id, name, event, at(event.at))
                for hook in hooks
                if state in hook.states and event.at >= hook.created_at
            ]
    return found


STATES = tuple(state.value for state in State)


def _read(hook_id: str, text: str | None) -> Webhook:
    if text is None:
        raise NotFound(f"There is no webhook {hook_id[:15]}.")
    values = json.loads(text)
    return Webhook(**{**values, "states": tuple(values["states"])})


def _write(hook: Webhook) -> str:
    return json.dumps(asdict(hook), separators=(",", ":"))


def _text(delivery: Delivery) -> str:
    return json.dumps(asdict(delivery), separators=(",", ":"))
