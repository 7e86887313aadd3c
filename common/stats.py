"""What environments use, over time: a capped Redis stream for each, one entry a sample.

Written by the worker that runs the environment, all of a tick in one round trip; read by the API and the pages. The
id of an entry is its time by Redis' clock. Its fields, all whole numbers but the last:

    cpu      milli cores, on average since the sample before
    ram      bytes; without what the kernel only caches and gives up when asked
    storage  bytes
    rx tx    bytes that came in and went out a second, since the sample before
    pids     processes and threads
    ooms     processes that the kernel killed for want of RAM, since the container started
    gpus     "uuid,percent,bytes;" for each of its GPUs: how busy (-1 where the driver does not say), and memory

What an environment may use is in its contract, and not repeated here. A gap is a time when it did not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis

from common.connection import translated
from common.keys import Keys

INTERVAL_SECONDS = 10.0
MAX_SAMPLES = 360  # an hour
KEPT_SECONDS = 3600  # after the last one
FRESH_SECONDS = 3 * INTERVAL_SECONDS  # what is older says nothing about now


@dataclass(frozen=True)
class GpuUse:
    """What an environment uses of one of its GPUs. `busy_percent` is None where the driver does not say (MIG)."""

    uuid: str
    busy_percent: int | None
    memory_bytes: int


@dataclass(frozen=True)
class Use:
    """What an environment uses; rates are those since the sample before."""

    cpu_milli: int
    ram_bytes: int
    storage_bytes: int
    received_bytes_per_second: int
    sent_bytes_per_second: int
    pids: int
    oom_kills: int
    gpus: tuple[GpuUse, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One look. `id` orders and resumes: it is the Redis stream id."""

    id: str
    at: float  # seconds since the epoch by Redis' clock
    use: Use


class Stats:
    """The time series of all environments. `redis` decodes responses."""

    def __init__(self, redis: Redis, keys: Keys):
        self._redis = redis
        self._keys = keys

    def write(self, uses: Mapping[str, Use]) -> None:
        """Add a sample to each environment, in one round trip; nothing is sent where there is none."""
        if not uses:
            return
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            for env_id, use in uses.items():
                key = self._keys.stats(env_id)
                pipe.xadd(key, cast(Any, _fields(use)), maxlen=MAX_SAMPLES, approximate=False)
                pipe.expire(key, KEPT_SECONDS)
            pipe.execute()

    def read(self, env_id: str, after: str = "0", limit: int = MAX_SAMPLES) -> list[Sample]:
        """At most the newest `limit` samples after the one with the id `after`, oldest first."""
        with translated():
            entries = self._redis.xrevrange(self._keys.stats(env_id), "+", f"({after}", limit)
        return [_sample(*entry) for entry in reversed(cast(list[tuple[str, dict[str, str]]], entries))]

    def now(self, env_id: str) -> Sample | None:
        """The newest sample, None where it is too old to say what is used now."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.xrevrange(self._keys.stats(env_id), count=1)
            (seconds, _), entries = pipe.execute()
        newest = [_sample(*entry) for entry in entries]
        return newest[0] if newest and seconds - newest[0].at < FRESH_SECONDS else None


def _fields(use: Use) -> dict[str, int | str]:
    return {
        "cpu": use.cpu_milli,
        "ram": use.ram_bytes,
        "storage": use.storage_bytes,
        "rx": use.received_bytes_per_second,
        "tx": use.sent_bytes_per_second,
        "pids": use.pids,
        "ooms": use.oom_kills,
        "gpus": "".join(
            f"{gpu.uuid},{-1 if gpu.busy_percent is None else gpu.busy_percent},{gpu.memory_bytes};" for gpu in use.gpus
        ),
    }


def _sample(entry_id: str, fields: Mapping[str, str]) -> Sample:
    use = Use(
        cpu_milli=int(fields["cpu"]),
        ram_bytes=int(fields["ram"]),
        storage_bytes=int(fields["storage"]),
        received_bytes_per_second=int(fields["rx"]),
        sent_bytes_per_second=int(fields["tx"]),
        pids=int(fields["pids"]),
        oom_kills=int(fields["ooms"]),
        gpus=tuple(_gpu(text) for text in fields["gpus"].split(";") if text),
    )
    return Sample(entry_id, int(entry_id.partition("-")[0]) / 1000, use)


def _gpu(text: str) -> GpuUse:
    uuid, percent, memory = text.rsplit(",", 2)
    return GpuUse(uuid, None if percent == "-1" else int(percent), int(memory))
