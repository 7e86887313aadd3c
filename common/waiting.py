"""What waits, by shape: how many, and for how long its head has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from common.connection import translated
from common.ledger import Ledger

MAX_SHAPES = 1000


@dataclass(frozen=True)
class Waiting:
    """One shape's queue. `shape` is cpu_milli:ram_mib:storage_mib:gpus:gpu_mib:gpu_model."""

    shape: str
    count: int
    head_age_seconds: float


def waiting(ledger: Ledger) -> list[Waiting]:
    """The queues of the first MAX_SHAPES shapes that somebody waits for, in the order of their heads.

    Raises RedisUnavailable.
    """
    redis, keys = ledger.redis, ledger.keys
    with translated():
        shapes = cast(list[str], redis.zrange(keys.shapes(), 0, MAX_SHAPES - 1))
        seconds, micros = redis.time()
        pipe = redis.pipeline(transaction=False)
        for shape in shapes:
            pipe.zcard(keys.queue(shape))
            pipe.zrange(keys.queue(shape), 0, 0)
        replies = pipe.execute()
        counts, heads = replies[::2], [found[0] if found else "" for found in replies[1::2]]
        for head in heads:
            pipe.hget(keys.environment(head), "since")
        since = pipe.execute() if heads else []
    now = seconds + micros / 1e6
    return [
        Waiting(shape, count, max(0.0, now - int(began) / 1000))
        for shape, count, began in zip(shapes, counts, since, strict=True)
        if count and began
    ]
