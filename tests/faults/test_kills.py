"""Workers that are killed while environments pass through them: none is lost, none is begun twice.

Bare Celery goes through the same, side by side, and loses some. `make faults` runs the full size.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import ledger_state
import noop_host
import pytest
import redis
from ledger_parts import wants
from noop_worker import Worker

from common.ledger import Ledger
from common.records import cost, shape
from common.settings import Settings

FULL = os.environ.get("DCLOUD_FAULTS") == "full"
ENVIRONMENTS, KILLS = (20_000, 20) if FULL else (200, 3)
SECONDS = 3600 if FULL else 240
QUIET_SECONDS = 60  # after which nothing more will come


def begun(client: redis.Redis) -> dict[str, int]:
    counts = cast(dict[str, str], client.hgetall(noop_host.BEGUN))
    return {env_id: int(count) for env_id, count in counts.items()}


def go(client: redis.Redis, worker: Worker, move: Callable[[], int]) -> int:
    """Let the worker work, and kill it while it does; how often. `move` returns how many have come to an end."""
    worker.start()
    kills, last, changed = 0, (0, 0), time.monotonic()
    deadline = changed + SECONDS
    try:
        while time.monotonic() < min(deadline, changed + QUIET_SECONDS):
            ended = move()
            if ended >= ENVIRONMENTS:
                break
            count = int(client.hlen(noop_host.BEGUN))
            if kills < KILLS and count >= ENVIRONMENTS * (kills + 0.5) / KILLS:
                worker.kill()
                kills += 1
                worker.start()
            if (ended, count) != last:  # what begins stands in line before what ends
                last, changed = (ended, count), time.monotonic()
            time.sleep(0.02)
    finally:
        worker.kill()
    return kills


def test_killed_workers_lose_nothing_and_begin_nothing_twice(
    client: redis.Redis, env: dict[str, str], tmp_path: Path
) -> None:
    ledger = Ledger.connect(Settings.from_env(env))
    contract = wants(wait=True, cpu="0.1", ram="64MiB", storage="16MiB")
    text, needed = json.dumps(contract.to_dict()), shape(contract)
    ids = [f"e{i:05}" for i in range(ENVIRONMENTS)]
    for env_id in ids:
        ledger._call("submit", env_id, "ann", env_id, text, needed, 5, cost(contract.resources), 0, "", "", "1")
    starting: set[str] = set()

    def move() -> int:
        """Their user deletes what runs."""
        starting.update(cast(list[str] | None, client.lpop(noop_host.NEWS, 1000)) or ())
        for env_id in list(starting):
            if client.hget(ledger.keys.environment(env_id), "state") == "running":
                ledger._call("delete", env_id)
                starting.remove(env_id)
        return int(client.zcard("test:ended"))

    kills = go(client, Worker((), env, tmp_path / "log"), move)
    counts = begun(client)
    lost, twice = len(set(ids) - set(counts)), sum(count > 1 for count in counts.values())
    print(f"\nDCloud: {ENVIRONMENTS} environments, {kills} kills: {lost} lost, {twice} begun twice")
    log = (tmp_path / "log").read_text()[-3000:]
    assert kills == KILLS, log
    assert (lost, twice) == (0, 0), log
    assert int(client.zcard("test:ended")) == ENVIRONMENTS, log
    state = ledger_state.snapshot(client, "test", history=not FULL)
    state.strings = {key: value for key, value in state.strings.items() if not key.startswith("celery")}
    found = [problem for problem in ledger_state.problems(state) if "celery" not in problem and "log:" not in problem]
    assert not found, found[:10]
    ledger.redis.close()


def bare_celery_for_comparison(client: redis.Redis, env: dict[str, str], tmp_path: Path, acknowledges: str) -> None:
    """That it loses some is no promise of ours, so this is no part of `make test`."""
    bare = noop_host.bare_celery(env["DCLOUD_REDIS_URL"], late=acknowledges == "late")
    task = bare.tasks["noop"]
    ids = [f"e{i:05}" for i in range(ENVIRONMENTS)]
    with bare.connection_for_write() as connection:
        for env_id in ids:
            task.apply_async((env_id,), connection=connection)
    worker = Worker(("celery", acknowledges), env, tmp_path / "log")
    kills = go(client, worker, lambda: int(client.hlen(noop_host.BEGUN)))
    counts = begun(client)
    lost, twice = len(set(ids) - set(counts)), sum(count > 1 for count in counts.values())
    print(f"\nbare Celery, {acknowledges} acknowledgement: {kills} kills: {lost} lost, {twice} begun twice")
    with suppress(AttributeError):
        bare.close()
    assert kills == KILLS


if FULL:
    test_bare_celery = pytest.mark.parametrize("acknowledges", ["early", "late"])(bare_celery_for_comparison)
