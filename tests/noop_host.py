"""A host's worker whose engine is simulated: the real Celery worker, claimer, reconciler and tasks around it.

    python noop_host.py           the worker of DCLOUD_HOST_NAME
    python noop_host.py celery    a worker of bare Celery, for comparison: its task only says that it was begun

Containers are a hash in Redis, so that they outlive a worker that is killed, as an engine's do. Starting one and
counting that its environment was begun is one step.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from kombu.transport.redis import Channel

from common.environment import Job
from common.inventory import Inventory
from common.settings import Settings, settings
from workers.cards import Cards
from workers.containers import Found
from workers.provision import Report

BEGUN = "noop:begun"  # hash: id → how many times it was begun
NEWS = "noop:news"  # list: ids as they are begun
INVENTORY = Inventory(64_000, 1_000_000, 1_000_000, machine="noop")

_START = """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('RPUSH', KEYS[3], ARGV[1])
return redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
"""


class NoopHost:
    """What a worker asks of its host, without an engine."""

    def __init__(self, values: Settings):
        self.name = values.host
        self.containers_key = f"noop:containers:{values.host}"
        self.cards = Cards()
        self.client = redis.Redis.from_url(values.redis_url, decode_responses=True)

    def inventory(self) -> Inventory:
        return INVENTORY

    def start(self, job: Job, report: Report) -> str:
        report.starting()
        time.sleep(float(os.environ.get("NOOP_SECONDS", "0")))
        self.client.eval(_START, 3, self.containers_key, BEGUN, NEWS, job.id, job.token)
        if "NOOP_DIES" in os.environ:  # at once, before anybody is told that it runs
            self.stop(job.id)
        return job.id

    def stop(self, env_id: str, grace_seconds: float = 10) -> None:
        self.client.hdel(self.containers_key, env_id)

    def remove(self, env_id: str) -> None:
        self.client.hdel(self.containers_key, env_id)

    def living(self) -> list[Found]:
        return []  # nothing of them can be measured

    def container(self, container_id: str) -> Found | None:
        return next((found for found in self.containers() if found.container_id == container_id), None)

    def events(self, kinds: Sequence[str], since: str) -> Iterator[dict[str, Any]]:
        threading.Event().wait()  # they never end by themselves
        yield {}

    def traces(self) -> set[str]:
        return set(self.client.hkeys(self.containers_key))

    def mounted(self, env_id: str) -> bool:
        return False

    def tend(self) -> None:
        pass

    def containers(self) -> list[Found]:
        found = self.client.hgetall(self.containers_key)
        return [
            Found(
                env_id=env_id,
                token=int(token),
                container_id=env_id,
                name=env_id,
                host=self.name,
                running=True,
                exit_code=None,
                oom_killed=False,
                created_at=time.time(),
                pid=0,
                paused=False,
                gpus=(),
            )
            for env_id, token in found.items()
        ]


def bare_celery(url: str, *, late: bool) -> Celery:
    """Celery as it comes, but for what this project sets too: threads, one message at a time."""
    bare = Celery("bare", broker=url, set_as_current=False)
    bare.conf.update(
        task_ignore_result=True, task_acks_late=late, worker_prefetch_multiplier=1, worker_pool="threads",
        worker_concurrency=8, broker_transport_options={"visibility_timeout": 10},
    )  # fmt: skip
    client = redis.Redis.from_url(url)

    @bare.task(name="noop", shared=False)  # type: ignore[untyped-decorator]
    def noop(env_id: str) -> None:
        client.hincrby(BEGUN, env_id, 1)

    return bare


def become_deaf(order: Path) -> None:
    """Once the file `order` is there the consumer asks for no message any more, and says nothing about it."""
    ask, deaf = Channel._brpop_start, False

    def start(self: Channel, *args: Any, **kwargs: Any) -> None:
        nonlocal deaf
        if order.exists():
            order.unlink()
            deaf = True
        if not deaf:
            ask(self, *args, **kwargs)

    Channel._brpop_start = start


if __name__ == "__main__":
    if sys.argv[1:2] == ["celery"]:
        quiet = ("--without-gossip", "--without-mingle", "--loglevel=WARNING")
        bare_celery(settings().redis_url, late=sys.argv[2:] == ["late"]).worker_main(["worker", *quiet])
    from workers import app, canary, claimer  # reads the settings

    if "NOOP_RESEND" in os.environ:
        claimer.RESEND_SECONDS = float(os.environ["NOOP_RESEND"])
    if "NOOP_DEAF" in os.environ:
        become_deaf(Path(os.environ["NOOP_DEAF"]))
        canary.DEAF_SECONDS = 3
    app.Host = NoopHost  # type: ignore[assignment, misc]
    sys.exit(app.run(settings()))
