"""Redis is killed while environments are submitted and claimed: what was answered is there afterwards."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import ledger_state
import pytest
from ledger_parts import PREFIX, OneHost, wants

from common.errors import RedisUnavailable
from common.ledger import Ledger, client_of
from common.states import State
from deploy import redis_server

KILLS = 20 if os.environ.get("DCLOUD_FAULTS") == "full" else 3


class Server:
    """A Redis as `make run` sets it up, which comes back with what it wrote down."""

    def __init__(self, directory: Path):
        port = redis_server.free_port()
        self.address = redis_server.url(port, "x")
        self._command = redis_server.command(redis_server.find_server(), directory, port, "x")
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        redis_server.wait_until_it_answers(self.address)

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(timeout=30)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.end(signal.SIGTERM)


class Load:
    """Threads that submit and claim, and remember what they were answered."""

    def __init__(self, address: str, host: OneHost):
        self.address, self.host = address, host
        self.accepted: list[str] = []
        self.claimed: list[tuple[str, int]] = []
        self._over, self._numbers = threading.Event(), itertools.count()
        self._threads = [threading.Thread(target=self._work, args=[what]) for what in ("submit", "submit", "claim")]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self, what: str) -> None:
        with client_of(self.address) as client:
            ledger = Ledger(client, PREFIX)
            while not self._over.is_set():
                try:
                    if what == "claim":
                        self._claim(ledger)
                    else:
                        self._submit(ledger)
                except RedisUnavailable:
                    time.sleep(0.05)

    def _submit(self, ledger: Ledger) -> None:
        env_id = f"e{next(self._numbers):05}"
        ledger.submit(env_id, "ann", wants())
        self.accepted.append(env_id)

    def _claim(self, ledger: Ledger) -> None:
        job = ledger.claim(self.host.name, self.host.epoch)
        if job:
            self.claimed.append((job.id, job.token))


def test_what_was_answered_survives_kills_of_redis(server: Server) -> None:
    ledger = Ledger(client_of(server.address), PREFIX)
    ledger.load()
    much = 10_000_000
    load = Load(server.address, OneHost(ledger, cpu_milli=much, ram_mib=much, storage_mib=much))
    try:
        for _ in range(KILLS):
            enough = len(load.accepted) + 50, len(load.claimed) + 10
            deadline = time.monotonic() + 60
            while (len(load.accepted), len(load.claimed)) < enough and time.monotonic() < deadline:
                time.sleep(0.01)
            server.end(signal.SIGKILL)
            server.start()
    finally:
        load.end()
    state = ledger_state.check(ledger.redis, PREFIX, history=True)
    assert len(load.accepted) >= 50 * KILLS
    assert set(load.accepted) <= set(state.environments)
    assert len(load.claimed) == len(dict(load.claimed)) > 0, "one was claimed twice"
    for env_id, token in load.claimed:
        record = state.environments[env_id]
        assert (record["state"], record["token"]) == (State.CLAIMED, str(token))
    print(f"\n{KILLS} kills of Redis: {len(load.accepted)} accepted and {len(load.claimed)} claimed, none lost")
    ledger.redis.close()
