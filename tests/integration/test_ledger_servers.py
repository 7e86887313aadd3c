"""Servers that cannot keep the ledger: each says so in a sentence, and no key is half written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ledger_fixtures
import ledger_state
import pytest
import redis
from ledger_parts import A100, PREFIX, OneHost, wants

from common.errors import RedisUnavailable
from common.ledger import Ledger
from common.settings import Settings


@pytest.fixture(params=ledger_fixtures.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def connect(address: str) -> Ledger:
    return Ledger.connect(Settings.from_env({"DCLOUD_REDIS_URL": address, "DCLOUD_KEY_PREFIX": PREFIX}))


@pytest.fixture
def ledger(kind: str, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger on a server of its own, so that it may be spoilt."""
    with ledger_fixtures.serving(kind, tmp_path / "own") as address:
        ledger = connect(address)
        yield ledger
        ledger.redis.close()


@pytest.mark.parametrize("missing", ["FUNCTION", "FCALL"])
def test_a_server_without_functions_is_refused(missing: str, tmp_path: Path) -> None:
    with ledger_fixtures.serving("redis", tmp_path, "--rename-command", missing, "") as address:
        with pytest.raises(RedisUnavailable, match="has no functions") as refused:
            connect(address)
        assert "Use Redis 7.0 or later" in str(refused.value)
        with redis.Redis.from_url(address) as client:
            assert client.dbsize() == 0


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_evicts_is_refused_before_anything_is_written(kind: str, policy: str, tmp_path: Path) -> None:
    with ledger_fixtures.serving(kind, tmp_path, "--maxmemory-policy", policy) as address:
        with pytest.raises(RedisUnavailable, match=policy):
            connect(address)
        with redis.Redis.from_url(address) as client:
            assert client.dbsize() == 0
            assert client.function_list() == []


def test_a_replica_is_refused(kind: str, ledger: Ledger, tmp_path: Path) -> None:
    with (
        ledger_fixtures.serving(kind, tmp_path / "replica", "--replicaof", "127.0.0.1", "1") as address,
        pytest.raises(RedisUnavailable, match="read-only replica"),
    ):
        connect(address)


def test_a_server_that_becomes_a_replica_refuses_every_write(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    before = ledger_state.snapshot(ledger.redis, PREFIX, history=True)
    ledger.redis.replicaof("127.0.0.1", "1")
    for call in (
        lambda: ledger.submit("e2", "ann", wants()),
        lambda: ledger.delete("e1"),
        host.claim,
        lambda: ledger.heartbeat("h1", host.epoch),
        lambda: OneHost(ledger, "h2"),
        ledger.expire,
    ):
        with pytest.raises(RedisUnavailable, match="read-only replica"):
            call()
    assert ledger_state.snapshot(ledger.redis, PREFIX, history=True) == before
    ledger.redis.replicaof("NO", "ONE")
    assert host.claim().id == "e1"


def test_a_full_server_takes_nothing_new_and_lets_go_on_what_is_under_way(ledger: Ledger) -> None:
    host = OneHost(ledger, gpus=A100)
    for name in ("runs", "stops", "waits"):
        ledger.submit(name, "ann", wants(gpu="1"))
    running, stopping = host.claim(), host.claim()
    host.run(running)
    used = ledger.redis.info("memory")["used_memory"]
    ledger.redis.config_set("maxmemory", used + 200_000)
    taken = 0
    with pytest.raises(RedisUnavailable) as refused:  # noqa: PT012
        for taken in range(10_000):
            ledger.submit(f"e{taken:04}", "ann", wants(gpu="1"))
    assert "memory is full" in str(refused.value)
    assert taken > 3
    ledger_state.check(ledger.redis, PREFIX, history=True)
    assert ledger.redis.exists(f"test:env:e{taken:04}", f"test:contract:e{taken:04}", f"test:events:e{taken:04}") == 0
    ledger.heartbeat("h1", host.epoch)
    assert ledger.reconcile("h1", host.epoch, {"runs": running.token}).missing == ()
    host.run(stopping)
    host.stop("stops")
    host.end("runs")
    assert host.claim().id == "waits"
    assert ledger.explain("e0000")["verdict"] == "now"
    ledger.delete("e0001")
    ledger_state.check(ledger.redis, PREFIX, history=True)
    ledger.redis.config_set("maxmemory", 0)
    assert ledger.submit("later", "ann", wants()).id == "later"
