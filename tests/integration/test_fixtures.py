"""The services that the tests get are the real ones, set up as the ledger needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import redis
from flask.testing import FlaskClient
from simulated_host import SimulatedHost
from test_api import ENVIRONMENTS, submitted, until


def test_redis_is_durable_and_evicts_nothing(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        config: Any = client.config_get("append*", "maxmemory-policy", "save")
        assert config["appendonly"] == "yes"
        assert config["appendfsync"] == "always"
        assert config["maxmemory-policy"] == "noeviction"
        assert client.dbsize() == 0
        assert client.function_list() == []
        client.set("left", "by the first test")


def test_redis_is_empty_for_the_next_test(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


def test_the_simulated_host_runs_nothing_that_somebody_invents(
    ada: FlaskClient, host: SimulatedHost, tmp_path: Path
) -> None:
    at = f"{ENVIRONMENTS}/{submitted(ada)['id']}"
    until(ada, at.rpartition("/")[2], "running")
    for command, code in ((["touch", str(tmp_path / "made")], 127), (["echo", "x"], 0)):
        channel = ada.post(f"{at}/exec", json={"command": command}).get_json()
        assert f'"code":{code}}}' in ada.get(channel["links"]["output"]).text
    assert not (tmp_path / "made").exists()
