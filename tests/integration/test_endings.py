"""What ends while nobody can be told of it yet, in a whole worker whose engine is simulated."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_parts import wants

from common.ledger import Ledger
from common.settings import Settings
from common.states import Reason, State

TESTS = Path(__file__).parents[1]


@pytest.fixture
def ledger(redis_url: str, tmp_path: Path) -> Iterator[Ledger]:
    """That of a worker whose containers die as they start, and whose sweep comes too late to be what told."""
    env = {
        "DCLOUD_REDIS_URL": redis_url, "DCLOUD_DATA_DIR": str(tmp_path), "DCLOUD_HOST_NAME": "h",
        "DCLOUD_SWEEP_SECONDS": "300", "NOOP_DIES": "1", "PYTHONPATH": f"{TESTS.parent}:{TESTS}",
    }  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, str(TESTS / "noop_host.py")], env={**os.environ, **env}, stdout=log, stderr=log
        )
    ledger = Ledger.connect(Settings.from_env(env))
    yield ledger
    ledger.redis.close()
    worker.terminate()
    worker.wait(30)


def test_a_container_that_dies_before_it_is_told_to_run_is_found_at_once(ledger: Ledger) -> None:
    ledger.submit("e1", "ann", wants())
    deadline = time.monotonic() + 40
    while (environment := ledger.get("e1")).state is not State.STOPPED and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (environment.state, environment.reason) == (State.STOPPED, Reason.CONTAINER_LOST)
    assert [event.state for event in ledger.events("e1")].count(State.RUNNING) == 1
