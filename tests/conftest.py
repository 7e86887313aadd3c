"""What every tier shares: a real Redis, the Docker engine, and the proof that nothing is left behind."""

from __future__ import annotations

import secrets
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import leaks
import pytest

from deploy import redis_server as server

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True)
class RedisServer:
    """A Redis server that this run started."""

    url: str  # with its password
    pid: int
    directory: Path  # of its AOF


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis, set up as `make run` sets it up: AOF, fsync at every write, no eviction."""
    directory = tmp_path_factory.mktemp("redis")
    port, password = server.free_port(), secrets.token_hex(8)
    log = directory / "redis.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            server.command(server.find_server(), directory, port, password), stdout=output, stderr=output
        )
    try:
        server.wait_until_it_answers(server.url(port, password))
        yield RedisServer(server.url(port, password), process.pid, directory)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty Redis: no key and no function."""
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.function_flush("SYNC")
    return redis_server.url


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The Docker engine. Where none answers the test ends in an error: nothing here is skipped for want of it."""
    import docker

    client = docker.from_env(timeout=60)
    try:
        client.ping()
        yield client
    finally:
        client.close()


# Some tiers import it and others take it as a plugin: pytest wants to know of it before either.
pytest.register_assert_rewrite("ledger_fixtures")

BEFORE = pytest.StashKey[set[str]]()
VERDICT = pytest.StashKey[str]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Asked where several processes share a run."""
    from lanes import Lanes

    return Lanes(config, log)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Note what is on the machine before the first test."""
    # a shell lets what it runs in the background ignore Ctrl-C, and whatever that starts too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if _shares(session):
        return
    leaks.mark()
    session.config.stash[BEFORE] = leaks.snapshot()


@pytest.hookimpl(trylast=True)  # the processes that share it have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if its tests left anything on the machine."""
    if _shares(session):
        return
    left = leaks.left_behind(session.config.stash[BEFORE])
    if left and leaks.others():
        session.config.stash[VERDICT] = "another test run is under way here, so what this one left was not compared"
    elif left:
        session.config.stash[VERDICT] = "\n  ".join(["LEFT BEHIND:", *left])
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        session.config.stash[VERDICT] = "nothing left behind"


def _shares(session: pytest.Session) -> bool:
    """Whether this is one of several processes of a run, and not the one that began it."""
    return hasattr(session.config, "workerinput")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say so, before pytest's own closing line."""
    terminalreporter.write_line(config.stash.get(VERDICT, ""))
