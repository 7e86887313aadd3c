"""The message that a claim sends by itself, and a real worker that receives it: once, twice, or never."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import noop_host
import pytest
import redis
from celery_parts import celery_on
from ledger_parts import wants
from noop_worker import Worker

from common.environment import Job
from common.ledger import Ledger
from common.settings import Settings
from common.states import State
from workers import nudges


@pytest.fixture
def ledger(env: dict[str, str]) -> Iterator[Ledger]:
    ledger = Ledger.connect(Settings.from_env(env))
    yield ledger
    ledger.redis.close()


@pytest.fixture
def worker(env: dict[str, str], ledger: Ledger, tmp_path: Path) -> Iterator[Worker]:
    """A worker that has brought `first` to run."""
    worker = Worker((), env, tmp_path / "log")
    worker.start()
    ledger.submit("first", "ann", wants(wait=True))
    try:
        until(lambda: ledger.get("first").state is State.RUNNING, worker)
        yield worker
    finally:
        worker.kill()


def until(holds: Callable[[], bool], worker: Worker) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, worker.said
        time.sleep(0.05)


@contextmanager
def paused(worker: Worker) -> Iterator[None]:
    assert worker.process is not None
    worker.process.send_signal(signal.SIGSTOP)
    yield
    worker.process.send_signal(signal.SIGCONT)


def claimed(ledger: Ledger, env_id: str, message: str) -> Job:
    """What the worker's own claim would give it, and send it."""
    ledger.submit(env_id, "ann", wants())
    epoch = ledger.redis.hget(ledger.keys.host("noop"), "epoch") or ""
    [job] = ledger.claim_some("noop", epoch, 8, message)
    assert job.id == env_id
    return job


def test_a_nudge_that_is_lost_is_sent_again(ledger: Ledger, worker: Worker, client: redis.Redis) -> None:
    with paused(worker):
        claimed(ledger, "lost", message="")
        assert client.llen(ledger.keys.messages("noop")) == 0
    until(lambda: ledger.get("lost").state is State.RUNNING, worker)
    assert client.hget(noop_host.BEGUN, "lost") == "1"


def test_a_nudge_that_comes_again_finds_its_token_spent(
    ledger: Ledger, worker: Worker, client: redis.Redis, env: dict[str, str]
) -> None:
    queue = ledger.keys.messages("noop")
    with celery_on(env["DCLOUD_REDIS_URL"]) as app:
        message = nudges.message(app.tasks["start_environment"], "host.noop")
    with paused(worker):
        job = claimed(ledger, "thrice", message)
        text = message.replace("@env@", job.id).replace("@token@", str(job.token))
        client.lpush(queue, text, text)
    until(lambda: ledger.get("thrice").state is State.RUNNING and client.llen(queue) == 0, worker)
    ledger.submit("after", "ann", wants())
    until(lambda: ledger.get("after").state is State.RUNNING, worker)
    assert client.hget(noop_host.BEGUN, "thrice") == "1"
    assert ledger.get("thrice").token == job.token


def test_flower_hears_of_it_as_of_any_task(
    ledger: Ledger, worker: Worker, client: redis.Redis, env: dict[str, str]
) -> None:
    told: list[dict[str, Any]] = []
    listeners = client.pubsub_numpat()
    with celery_on(env["DCLOUD_REDIS_URL"]) as app, app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": told.append})
        listening = Thread(target=receiver.capture, kwargs={"timeout": 60})
        listening.start()
        until(lambda: client.pubsub_numpat() > listeners, worker)
        ledger.submit("seen", "ann", wants())
        until(lambda: any(event["type"] == "task-succeeded" for event in told), worker)
        receiver.should_stop = True
        listening.join()
    name = f"seen-{ledger.get('seen').token}"
    events = {event["type"]: event for event in told if event.get("uuid") == name}
    assert {"task-received", "task-started", "task-succeeded"} <= events.keys()
    received = events["task-received"]
    assert received["name"] == "start_environment"
    assert received["args"] == f"('seen', {ledger.get('seen').token})"
