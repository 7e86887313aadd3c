"""A Redis client with deadlines, and its errors in our own tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from common.errors import (
    Changed,
    Conflict,
    DCloudError,
    Fenced,
    HostTaken,
    IllegalTransition,
    LedgerError,
    NeverFits,
    NotFound,
    RedisUnavailable,
    StaleToken,
)

# The first word of an error of the ledger's functions.
_ERRORS: dict[str, type[DCloudError]] = {
    "NOTFOUND": NotFound,
    "ILLEGAL": IllegalTransition,
    "STALE": StaleToken,
    "FENCED": Fenced,
    "TAKEN": HostTaken,
    "CONFLICT": Conflict,
    "CHANGED": Changed,
    "BADARG": LedgerError,
    "NEVER": NeverFits,
}


def client_of(url: str, *, decode: bool = True, timeout_seconds: float = 5.0) -> redis.Redis:
    """A Redis client with a deadline on every command. Blocking commands need one with a longer timeout."""
    return redis.Redis.from_url(
        url,
        decode_responses=decode,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=2.0,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        health_check_interval=0,
    )


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the ledger's functions refuse as LedgerError, and what Redis cannot do as RedisUnavailable."""
    try:
        yield
    except redis.OutOfMemoryError as error:
        raise RedisUnavailable(
            "Redis' memory is full, so nothing new is taken in; what is under way goes on. "
            "Delete environments, or raise its maxmemory."
        ) from error
    except redis.ReadOnlyError as error:
        raise RedisUnavailable("This Redis is a read-only replica. Point DCLOUD_REDIS_URL at its primary.") from error
    except redis.ResponseError as error:
        word, _, text = str(error).partition(" ")
        kind = _ERRORS.get(word)
        if kind is not None:
            raise kind(text) from None
        if str(error).lower().startswith(("unknown command", "err unknown command")):
            raise RedisUnavailable(
                f"This Redis has no functions ({error}). Use Redis 7.0 or later, or Valkey 8 or later."
            ) from error
        raise RedisUnavailable(f"Redis refuses to work: {error}") from error
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise RedisUnavailable(f"Redis does not answer: {error}") from error
