"""How long a request lets Redis keep it waiting.

A question is asked twice at most, both times within `DCLOUD_REDIS_SECONDS`, because a connection may be dead where
Redis is not. Whose question was left without an answer asks no other: a Redis that hangs costs a request that time
once, however many questions it would have had. What streams an answer later, or is no request, has that time for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from redis import TimeoutError
from redis.backoff import ConstantBackoff
from redis.retry import Retry


@dataclass
class _Request:
    in_vain: bool = False  # it has waited without an answer


_request: ContextVar[_Request | None] = ContextVar("request", default=None)


@contextmanager
def of_one_request() -> Iterator[None]:
    """What is asked meanwhile is asked for one request."""
    before = _request.set(_Request())
    try:
        yield
    finally:
        _request.reset(before)


def give_up() -> None:
    """The request has waited in vain."""
    if request := _request.get():
        request.in_vain = True


def is_over() -> bool:
    """Whether the request has waited in vain."""
    request = _request.get()
    return request is not None and request.in_vain


class Patience(Retry):
    """Tries twice, and remembers who was left without an answer. Each connection has its own."""

    def __init__(self) -> None:
        super().__init__(ConstantBackoff(0.05), 1)
        self.in_vain = False  # the last question

    def call_with_retry(self, *args: Any, **options: Any) -> Any:
        try:
            answer = super().call_with_retry(*args, **options)
        except TimeoutError:
            self.in_vain = True
            give_up()
            raise
        self.in_vain = False
        return answer
