"""A consumer that has stopped consuming, without a word and with its connection open."""

from __future__ import annotations

import time
from pathlib import Path

from ledger_parts import wants
from noop_worker import Worker

from common.ledger import Ledger
from common.settings import Settings
from common.states import State


def test_a_consumer_that_stopped_is_noticed_and_comes_back(env: dict[str, str], tmp_path: Path) -> None:
    ledger, order = Ledger.connect(Settings.from_env(env)), tmp_path / "order"
    worker = Worker((), {**env, "NOOP_DEAF": str(order)}, tmp_path / "log")
    worker.start()
    assert worker.process is not None
    try:
        _runs(ledger, worker, "e1")
        order.touch()
        _runs(ledger, worker, "e2")  # by the request for a message that was under way
        assert not order.exists()
        epoch = ledger.hosts()[0].epoch
        _runs(ledger, worker, "e3")
        assert "starts anew" in worker.said
        assert worker.process.poll() is None, "the same process, for whoever started it"
        assert ledger.hosts()[0].epoch > epoch
        assert {e.id: e.attempt for e in ledger.environments()[0]}.keys() == {"e1", "e2", "e3"}
    finally:
        worker.kill()
        ledger.redis.close()


def _runs(ledger: Ledger, worker: Worker, env_id: str) -> None:
    ledger.submit(env_id, "ann", wants(wait=True))
    deadline = time.monotonic() + 120
    while ledger.get(env_id).state is not State.RUNNING:
        assert time.monotonic() < deadline, worker.said
        assert worker.process is not None
        assert worker.process.poll() is None, worker.said
        time.sleep(0.1)
