"""Use over time against a real Redis, and as the API tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from redis import Redis
from simulated_host import SimulatedHost
from test_api import ENVIRONMENTS, problem, submitted, until

from api.services import Services
from common import stats
from common.keys import Keys
from common.stats import GpuUse, Stats, Use

USE = Use(870, 402_653_184, 73_400_320, 1200, 80, 14, 0)
GPUS = (GpuUse("GPU-1", 97, 2**34), GpuUse("MIG-2", None, 5))


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return Redis.from_url(redis_url, decode_responses=True)


@pytest.fixture
def kept(redis: Redis) -> Stats:
    return Stats(redis, Keys("test"))


def test_samples_come_back_as_they_were_oldest_first(kept: Stats) -> None:
    uses = [replace(USE, cpu_milli=n) for n in range(4)] + [replace(USE, gpus=GPUS)]
    for use in uses:
        kept.write({"e": use, "other": USE})
    found = kept.read("e")
    assert [sample.use for sample in found] == uses
    assert [sample.use for sample in kept.read("e", limit=2)] == uses[-2:]
    assert [sample.use for sample in kept.read("e", after=found[1].id)] == uses[2:]
    assert kept.read("e", after=found[-1].id) == kept.read("nothing") == []


def test_only_an_hour_is_kept_and_not_for_ever(kept: Stats, redis: Redis) -> None:
    for n in range(stats.MAX_SAMPLES + 5):
        kept.write({"e": replace(USE, pids=n)})
    found = kept.read("e", limit=1000)
    assert len(found) == stats.MAX_SAMPLES
    assert found[-1].use.pids == stats.MAX_SAMPLES + 4
    assert 0 < redis.ttl(Keys("test").stats("e")) <= stats.KEPT_SECONDS


def test_a_tick_is_one_round_trip_and_none_where_nothing_runs(kept: Stats, redis: Redis) -> None:
    def calls(command: str) -> int:
        return int(redis.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])

    before = calls("xadd")
    kept.write({})
    assert calls("xadd") == before
    kept.write({f"e{n}": USE for n in range(50)})
    assert calls("xadd") == before + 50


def test_what_is_old_says_nothing_about_now(kept: Stats, redis: Redis) -> None:
    seconds = int(redis.time()[0])
    old = {name: str(value) for name, value in stats._fields(USE).items()}
    redis.xadd(Keys("test").stats("e"), old, id=f"{int(seconds - stats.FRESH_SECONDS - 1) * 1000}-0")
    assert len(kept.read("e")) == 1
    assert kept.now("e") is None
    kept.write({"e": USE})
    newest = kept.now("e")
    assert newest
    assert newest.use == USE
    assert kept.now("nothing") is None


def test_the_api_tells_use_and_limits(ada: FlaskClient, host: SimulatedHost, parts: Services) -> None:
    env_id = submitted(ada, resources={"cpu": "2", "ram": "1GiB", "storage": "1GiB"})["id"]
    until(ada, env_id, "running")
    at = f"{ENVIRONMENTS}/{env_id}/stats"
    empty = ada.get(at).get_json()
    assert (empty["now"], empty["series"]) == (None, [])
    assert empty["limits"] == {"cpu_milli": 2000, "ram_bytes": 2**30, "storage_bytes": 2**30, "gpus": 0}
    parts.stats.write({env_id: USE})
    parts.stats.write({env_id: replace(USE, gpus=GPUS)})
    told = ada.get(at).get_json()
    assert told["now"] == told["series"][1]
    assert told["series"][0]["cpu_milli"] == 870
    assert told["now"]["gpus"][1] == {"uuid": "MIG-2", "busy_percent": None, "memory_bytes": 5}
    assert ada.get(at, query_string={"after": told["series"][0]["id"]}).get_json()["series"] == told["series"][1:]
    assert len(ada.get(at, query_string={"limit": 1}).get_json()["series"]) == 1
    ada.post(f"{ENVIRONMENTS}/{env_id}/stop")
    until(ada, env_id, "stopped")
    assert ada.get(at).get_json()["now"] is None


def test_somebody_elses_use_is_not_told(ada: FlaskClient, client_of: Callable[..., FlaskClient]) -> None:
    env_id = submitted(ada, wait=True)["id"]
    problem(client_of("eve").get(f"{ENVIRONMENTS}/{env_id}/stats"), 404)
    assert ada.get(f"{ENVIRONMENTS}/{env_id}/stats").status_code == 200
    problem(ada.get(f"{ENVIRONMENTS}/{env_id}/stats?after=x"), 400)
    problem(ada.get(f"{ENVIRONMENTS}/{env_id}/stats?after=99999999999999999999"), 400)
