"""A host that has claimed more than its threads can begin at once: nothing is sent twice while it waits its turn."""

from __future__ import annotations

import time
from pathlib import Path

from ledger_parts import wants
from noop_worker import Worker

from common.ledger import Ledger
from common.settings import Settings
from common.states import State

ENVIRONMENTS = 30


def test_what_waits_behind_others_is_not_sent_again(env: dict[str, str], tmp_path: Path) -> None:
    slow = {"NOOP_SECONDS": "0.1", "NOOP_RESEND": "0.2", "DCLOUD_WORKER_THREADS": "1", "DCLOUD_SWEEP_SECONDS": "0.2"}
    ledger, worker = Ledger.connect(Settings.from_env(env)), Worker((), {**env, **slow}, tmp_path / "log")
    for i in range(ENVIRONMENTS):
        ledger.submit(f"e{i}", "ann", wants(wait=True))
    worker.start()
    most, deadline = 0, time.monotonic() + 120
    try:
        while {e.state for e in ledger.environments()[0]} != {State.RUNNING}:
            assert time.monotonic() < deadline, worker.said
            most = max(most, ledger.redis.llen(ledger.keys.messages("noop")))
            time.sleep(0.05)
        assert 0 < most <= ENVIRONMENTS
    finally:
        worker.kill()
        ledger.redis.close()
