"""Processes that race for the hosts of one ledger, while a checker reads all of its keys."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import ledger_fixtures
import ledger_state
import pytest
from ledger_parts import PREFIX, inventory

from common.errors import LedgerError
from common.inventory import Gpu
from common.ledger import Ledger, client_of
from common.states import Reason, State

FULL = os.environ.get("DCLOUD_FAULTS") == "full"
PROCESSES = 8
HOSTS = 50
ROUNDS = 2000 if FULL else 60  # claims, and as many releases, of each process
SHAPES = ("1000:1000:1000:0:0:", "2000:4000:1000:1:0:", "1000:1000:500:2:0:h100", "4000:500:500:0:0:")


def race(address: str, number: int) -> None:
    """One process: it speaks for every host, as no worker would, so that each host is claimed for from all sides."""
    ledger, dice = Ledger(client_of(address), PREFIX), random.Random(number)
    ledger.load()
    epochs = [ledger.redis.hget(ledger.keys.host(f"h{i}"), "epoch") for i in range(HOSTS)]
    done = 0
    while done < ROUNDS:
        if dice.random() < 0.6:
            env_id, text = f"e{number}-{time.time_ns()}", dice.choice(SHAPES)
            ledger._call("submit", env_id, f"user{dice.randrange(5)}", "n", "{}", text, 5, 1000, 0, "", "", "1")
        host = dice.randrange(HOSTS)
        reply = ledger._call("claim", f"h{host}", epochs[host], f"{number}-{time.time_ns()}", 1)
        if reply is None:
            continue
        env_id, token = reply[0][0], reply[0][3]
        where = (f"h{host}", epochs[host], env_id, token)
        twice = 1 + (dice.random() < 0.1)
        for request in [f"{number}-{time.time_ns()}"] * twice:
            if dice.random() < 0.2:
                ledger._call("give_back", *where, Reason.WORKER_RESTARTED, request)
                break
            ledger._call("release", *where, State.FAILED, Reason.INTERNAL, "", request)
        try:
            ledger._call("release", *where, State.FAILED, Reason.INTERNAL, "", f"late-{time.time_ns()}")
            raise AssertionError("what was given back was released again")
        except LedgerError:
            done += 1
    ledger.redis.close()


@pytest.mark.parametrize("kind", ledger_fixtures.KINDS if FULL else ["redis"])
def test_processes_that_race_never_take_too_much(kind: str, tmp_path: Path) -> None:
    with ledger_fixtures.serving(kind, tmp_path) as address:
        ledger = Ledger(client_of(address, timeout_seconds=60), PREFIX)
        ledger.load()
        ledger.configure(keep_seconds=1)  # so that what the checker reads stays small
        for i in range(HOSTS):
            gpus = tuple(Gpu(f"G{i}-{k}", "NVIDIA H100", 81_559, island=k // 2 + 1) for k in range(i % 5))
            ledger.register(f"h{i}", "i", 10_000, inventory(gpus))
        root = Path(__file__).parents[2]
        env = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
        command = [sys.executable, __file__, address]
        racers = [subprocess.Popen([*command, str(number)], env=env) for number in range(PROCESSES)]
        looks = 0
        try:
            while any(racer.poll() is None for racer in racers):
                ledger.expire()
                ledger_state.check(ledger.redis, PREFIX)
                looks += 1
                time.sleep(0.5 if FULL else 0.1)
        finally:
            for racer in racers:
                if racer.poll() is None:
                    racer.kill()
                racer.wait()
        assert [racer.returncode for racer in racers] == [0] * PROCESSES
        assert looks > 5
        state = ledger_state.check(ledger.redis, PREFIX, history=True)
        assert not any(state.allocations.values())
        for name, host in state.hosts.items():
            assert (host["free_cpu"], host["free_gpus"]) == ("8000", str(int(name[1:]) % 5))
        print(f"\n{kind}: {PROCESSES} processes, {PROCESSES * ROUNDS} claims and releases, {looks} looks")
        ledger.redis.close()


if __name__ == "__main__":
    race(sys.argv[1], int(sys.argv[2]))
