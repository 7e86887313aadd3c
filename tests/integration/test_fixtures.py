"""The services that the tests get are the real ones, set up as the ledger needs them."""

from __future__ import annotations

from typing import Any

import redis


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
