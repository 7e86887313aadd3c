"""What a host says while it makes an environment outlives a Redis that is away or full."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from own_redis import OwnRedis, own_redis
from redis import Redis
from simulated_host import INVENTORY

from common.buildlog import BuildLog
from common.contract import parse
from common.environment import Job
from common.ledger import Ledger
from common.settings import Settings
from common.states import State
from workers.member import Member
from workers.reporter import Reporter
from workers.runs import Runs

__all__ = ["own_redis"]


def report(url: str) -> Reporter:
    """The report of a host; it has no parts of a machine, for nothing here is made."""
    settings = Settings.from_env({"DCLOUD_REDIS_URL": url})
    member = Member(settings, Ledger.connect(settings), cast(Any, None))
    job = Job(id="e1", name="lab", owner="ada", token=1, attempt=1, contract=parse({}), gpus=())
    return Reporter(member, job, Runs())


def logged(found: Reporter) -> list[str]:
    return [line.text for line in found.build_log.read("e1")]


def test_a_line_waits_for_a_redis_that_is_away(own_redis: OwnRedis) -> None:
    found = report(own_redis.url)
    found.log("before")
    own_redis.kill()
    with ThreadPoolExecutor() as pool:
        later = [pool.submit(found.log, "after"), pool.submit(found.locked, "the lock")]
        with pytest.raises(TimeoutError):
            later[0].result(timeout=1)
        own_redis.start()
        for call in later:
            call.result(timeout=10)
    assert logged(found) == ["before", "after"]
    assert found.locks.get("e1") == "the lock"


def test_a_full_redis_keeps_no_lines_and_stops_no_work(redis_url: str) -> None:
    found = report(redis_url)
    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory", 1)
        try:
            found.log("a line")
            found.locked("the lock")
        finally:
            redis.config_set("maxmemory", 0)
    assert logged(found) == []


def test_the_words_of_a_failure_are_logged_once(redis_url: str) -> None:
    found = report(redis_url)
    found.log("error: No solution found")
    found.explain("error: No solution found\n  cause: You require both")
    assert logged(found) == ["error: No solution found", "  cause: You require both"]


def test_a_warning_is_in_the_history_and_in_the_log(redis_url: str) -> None:
    settings = Settings.from_env({"DCLOUD_REDIS_URL": redis_url, "DCLOUD_HOST_NAME": "h1"})
    member = Member(settings, Ledger.connect(settings), cast(Any, None))
    ledger = member.ledger
    member.epoch = ledger.register("h1", "instance", 40, INVENTORY)
    ledger.submit("e1", "ada", parse({}), "", "digest")
    job = ledger.claim("h1", member.epoch)
    assert job is not None
    member.advance(job, State.BUILDING, 50, "Installing")
    Reporter(member, job, Runs()).warn("torch 2.13.0+cpu is a build without CUDA.")
    assert ledger.events("e1")[-1].message == "torch 2.13.0+cpu is a build without CUDA."
    assert ledger.get("e1").progress == 50
    assert [line.text for line in BuildLog(ledger.redis, ledger.keys).read("e1")][-1].startswith("Warning: torch")
