"""How long a request lets Redis keep it waiting.

A question is asked twice at most, both times within `DCLOUD_REDIS_SECONDS`, because a connection may be dead where
Redis is not. Whose question was left without an answer asks no other: a Redis that hangs costs a request that time
once, however many questions it would have had.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

from redis import TimeoutError
from redis.backoff import ConstantBackoff
from redis.retry import Retry

AGAIN_SECONDS = 1.0  # then who goes on without an answer, as a stream does, may ask again

_gave_up_at: ContextVar[float] = ContextVar("gave_up_at", default=float("-inf"))  # by the monotonic clock


def begin() -> None:
    """A request begins: a thread may have served another one before."""
    _gave_up_at.set(float("-inf"))


def give_up() -> None:
    """Whoever runs here has waited in vain."""
    _gave_up_at.set(time.monotonic())


def is_over() -> bool:
    """Whether whoever runs here has just waited in vain."""
    return time.monotonic() - _gave_up_at.get() < AGAIN_SECONDS


class Patience(Retry):
    """Tries twice, and remembers who was left without an answer."""

    def __init__(self) -> None:
        super().__init__(ConstantBackoff(0.05), 1)

    def call_with_retry(self, *args: Any, **options: Any) -> Any:
        try:
            return super().call_with_retry(*args, **options)
        except TimeoutError:
            give_up()
            raise
