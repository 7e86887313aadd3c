"""The doctor says of each part what it found and, where it is missing, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from common.settings import Settings
from deploy import doctor


@pytest.fixture
def lax(redis_url: str) -> Iterator[redis.Redis]:
    """The server, which the test may set up badly; as it was afterwards."""
    with redis.Redis.from_url(redis_url) as client:
        yield client
        client.config_set("appendfsync", "always", "maxmemory-policy", "noeviction")


def test_a_redis_as_we_set_it_up_is_well(redis_url: str) -> None:
    assert [check.ok for check in doctor.check_redis(Settings(redis_url))] == [True, True, True]


def test_a_redis_that_may_lose_writes_is_named(redis_url: str, lax: redis.Redis) -> None:
    lax.config_set("appendfsync", "everysec")
    checks = {check.name: check for check in doctor.check_redis(Settings(redis_url))}
    assert checks["Redis' persistence"].ok is False
    assert "appendfsync always" in checks["Redis' persistence"].advice


def test_a_redis_that_evicts_is_named(redis_url: str, lax: redis.Redis) -> None:
    lax.config_set("maxmemory-policy", "allkeys-lru")
    checks = {check.name: check for check in doctor.check_redis(Settings(redis_url))}
    assert checks["Redis' eviction"].ok is False
    assert "noeviction" in checks["Redis' eviction"].advice


def test_a_redis_that_is_not_there_is_one_line() -> None:
    checks = doctor.check_redis(Settings("redis://127.0.0.1:1/0"))
    assert [(check.name, check.ok) for check in checks] == [("Redis", False)]
    assert "make run" in checks[0].advice


def test_a_host_whose_worker_never_ran_is_named(redis_url: str) -> None:
    check = doctor.check_worker(Settings(redis_url, host_name="nowhere"))
    assert check.ok is False
    assert "none ever ran as nowhere" in check.found


def test_an_engine_that_is_not_there_is_named() -> None:
    # By TCP: the SDK leaves a Unix socket open that it could not connect.
    settings = Settings("redis://127.0.0.1:1/0", docker_host="tcp://127.0.0.1:1")
    assert doctor.check_engine(settings).ok is False
    assert doctor.check_registry(settings).ok is None


def test_an_index_that_is_not_there_is_named() -> None:
    check = doctor.check_index(Settings("redis://127.0.0.1:1/0", index_url="http://127.0.0.1:1/simple"))
    assert check.ok is False
    assert "DCLOUD_INDEX_URL" in check.advice


def test_a_mirror_that_is_not_there_is_named() -> None:
    check = doctor.check_mirror(Settings("redis://127.0.0.1:1/0", apt_mirror="http://127.0.0.1:1/debian"))
    assert check.ok is False
    assert "DCLOUD_APT_MIRROR" in check.advice


def test_a_program_that_is_not_installed_is_named() -> None:
    check = doctor.check_program("e2fsprogs", "no-such-program", "storage needs it")
    assert check.ok is False
    assert check.advice == "apt-get install e2fsprogs: storage needs it."


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE_GB", 10**9)
    check = doctor.check_disk(Settings("redis://127.0.0.1:1/0", data_dir=tmp_path / "not" / "yet"))
    assert check.ok is False
    assert "DCLOUD_DATA_DIR" in check.advice
