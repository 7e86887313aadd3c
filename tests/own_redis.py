"""A Redis that a test may kill."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import redis_server as server


class OwnRedis:
    """A Redis server of one test, with its data."""

    def __init__(self, directory: Path):
        self.port = server.free_port()
        self.directory = directory
        self.start()

    @property
    def url(self) -> str:
        return server.url(self.port, "secret")

    def start(self) -> None:
        command = server.command(server.find_server(), self.directory, self.port, "secret")
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        server.wait_until_it_answers(self.url)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    own = OwnRedis(tmp_path)
    yield own
    own.kill()
