"""The model's rules are the ledger's: what the model does at random is done to a real ledger too, step by step."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import ledger_fixtures
import pytest
from ledger_parts import PREFIX, inventory
from model_names import COUNTS_ATTEMPTS, tokens
from model_steps import Step, successors, workers
from model_world import GPUS, MAX_ATTEMPTS, NEEDS, NEXT, NOWHERE, STARTING, WITH_GPUS, Budget, World, beginning

from common.errors import Fenced, LedgerError
from common.inventory import Gpu
from common.ledger import Ledger, client_of, new_request
from common.states import Reason, State

WALKS = 300 if os.environ.get("DCLOUD_FAULTS") == "full" else 25
STEPS = 60
BUDGET = Budget(crashes=3, silences=3, rollbacks=1, deletes=2, stops=4)


class Replay:
    """A real ledger that is led along the model."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger
        ledger.redis.flushall()
        ledger.configure(defer_seconds=0.001)
        self.world = beginning(BUDGET)
        self.real: dict[int, str] = {0: "0"}  # a token or epoch of the model → the ledger's
        self.saved: dict[str, bytes] = {}
        self.seen: set[str] = set()
        for name in range(len(GPUS)):
            self.register(name)
        for env_id, need in enumerate(NEEDS):
            ledger._call("submit", f"e{env_id}", "ann", "n", "{}", f"1:1:1:{need}:0:", 5, 1, 0, "", "", "1")
        self.compare(None)

    def register(self, name: int) -> None:
        gpus = tuple(Gpu(f"GPU-{gpu}", "NVIDIA H100", 81_559) for gpu in GPUS[name])
        self.ledger.register(f"h{name}", new_request(), 10_000, inventory(gpus))

    def walk(self, dice: random.Random) -> None:
        for _ in range(STEPS):
            options = list(workers(self.world) if dice.random() < 0.9 else successors(self.world))
            step, after = dice.choice(options)
            if step.what == "claims":
                step, after = self.claim(step, options)
            else:
                self.act(step)
            known = {0, *tokens(self.world)}  # the model gives the number of a token that nobody remembers again
            self.real = {token: real for token, real in self.real.items() if token in known}
            self.world = after
            self.compare(step)
            self.seen |= {env.state for env in after.ledger.envs}

    def claim(self, step: Step, options: list[tuple[Step, World]]) -> tuple[Step, World]:
        """Which of those that fit is the ledger's to choose."""
        time.sleep(0.003)
        reply = self.call("claim", step.host, new_request(), 1)
        taken = Step("claims", step.host, int(reply[0][0][1:]))
        return next((option, after) for option, after in options if option == taken)

    def call(self, function: str, name: int, *arguments: Any) -> Any:
        return self.ledger._call(function, f"h{name}", self.real[self.world.machines[name].epoch], *arguments)

    def move(self, name: int, env_id: int, token: int, state: str) -> None:
        where = (name, f"e{env_id}", self.real[token], state)
        if state in (State.FAILED, State.STOPPED, State.DELETED):
            self.call("release", *where, Reason.INTERNAL, "", new_request())
        else:
            self.call("advance", *where, "", 50, "", "", new_request())

    def make(self, step: Step) -> None:
        """A thread's call."""
        what, name, env_id = step
        env = self.world.ledger.envs[env_id]
        if what in ("begins", "begins and forgets"):
            self.move(name, env_id, env.token, State.BUILDING)
        elif what == "releases":
            self.move(name, env_id, env.token, State.STOPPED if env.state == State.STOPPING else State.DELETED)
        else:
            job = next(job for job in self.world.machines[name].jobs if job.env == env_id)
            if what == "is refused and leaves":
                with pytest.raises(LedgerError):
                    self.move(name, env_id, job.token, State.STARTING if job.phase == 0 else State.RUNNING)
                return
            failed = State.FAILED if env.pin == NOWHERE else State.STOPPING
            after = {"may start": State.STARTING, "runs": State.RUNNING, "cannot make": failed}[what]
            self.move(name, env_id, job.token, after)

    def act(self, step: Step) -> None:
        """The calls that a step of the model stands for."""
        what, name, env_id = step
        if what in ("starts", "ends the container of", "crashes", "reboots"):
            return  # the ledger is not told
        if what in ("delete", "stop", "start"):
            self.ledger._call(what, f"e{env_id}", *([Reason.USER_REQUEST] if what == "stop" else []))
        elif env_id != NOWHERE:
            self.make(step)
        elif what == "compares":
            self.reconcile(name)
        elif what == "restarts":
            self.register(name)
        elif what == "beats":
            self.call("heartbeat", name)
        elif what == "is fenced and ends":
            with pytest.raises(Fenced):
                self.call("heartbeat", name)
        elif what == "falls silent":
            self.ledger.redis.zadd(self.ledger.keys.hosts(), {f"h{name}": 1})
            self.ledger.expire()
        elif what == "a snapshot is taken":
            self.saved = {key: self.ledger.redis.dump(key) for key in self.ledger.redis.keys("*")}
        elif what == "Redis comes back as the snapshot":
            self.ledger.redis.flushdb()
            for key, value in self.saved.items():
                self.ledger.redis.restore(key, 0, value)
            time.sleep(0.002)  # no copy is restored within a ms
        else:
            raise AssertionError(what)

    def reconcile(self, name: int) -> None:
        """As a worker's sweep does."""
        machine = self.world.machines[name]
        containers = {f"e{c.env}": int(self.real[c.token]) for c in machine.containers}
        epoch = self.real[machine.epoch]
        difference = self.ledger.reconcile(f"h{name}", epoch, containers)
        busy = {f"e{job.env}" for job in machine.jobs}
        for env_id in set(difference.missing) - busy:
            self.ledger.advance(
                f"h{name}", epoch, self._job(env_id), State.STOPPING, progress=0, message="", reason="container_lost"
            )
        for env_id in set(difference.making) - busy:
            job = self._job(env_id)
            state = self.ledger.redis.hget(f"{PREFIX}:env:{env_id}", "state")
            if state == STARTING and containers.get(env_id) == job.token:
                self.ledger.advance(f"h{name}", epoch, job, State.RUNNING, progress=100, message="")
                continue
            self.ledger.give_back(f"h{name}", epoch, env_id, job.token, Reason.WORKER_RESTARTED)

    def _job(self, env_id: str) -> Any:
        class Held:
            id = env_id
            token = int(self.ledger.redis.hget(f"{PREFIX}:env:{env_id}", "token"))

        return Held

    def compare(self, step: Step | None) -> None:
        """The ledger is what the model says, and the same tokens are the same."""
        redis = self.ledger.redis
        for env_id, env in enumerate(self.world.ledger.envs):
            record = redis.hgetall(f"{PREFIX}:env:e{env_id}")
            said = (record["state"], record["gpus"].count("GPU"), record["pin"], int(record["token"]) > 0)
            pin = "" if env.pin == NOWHERE else f"h{env.pin}"
            assert said == (env.state, len(env.gpus), pin, env.token > 0), (step, env, record)
            assert self.real.setdefault(env.token, record["token"]) == record["token"], (step, env, record)
            if env.state in WITH_GPUS:
                assert record["host"] == f"h{env.host}", (step, env, record)
            if env.state in COUNTS_ATTEMPTS:
                assert int(record["attempt"]) == env.attempt, (step, env, record)
        for name, host in enumerate(self.world.ledger.hosts):
            record = redis.hgetall(f"{PREFIX}:host:h{name}")
            said = (int(record["free_gpus"]), record["state"] == "lost")
            assert said == (host.free, host.lost), (step, host, record)
            assert self.real.setdefault(host.epoch, record["epoch"]) == record["epoch"], (step, host)
        assert len(set(self.real.values())) == len(self.real), "two tokens of the model are one of the ledger"


@pytest.mark.parametrize("kind", ledger_fixtures.KINDS)
def test_the_ledger_does_what_the_model_does(kind: str, tmp_path: Path) -> None:
    with ledger_fixtures.serving(kind, tmp_path) as address:
        ledger = Ledger(client_of(address), PREFIX)
        code = ledger._code.replace("local MAX_ATTEMPTS = 3", f"local MAX_ATTEMPTS = {MAX_ATTEMPTS}")
        assert code != ledger._code
        ledger._code, ledger.library = code.replace(ledger.library, "dcloud_small"), "dcloud_small"
        ledger.load()
        seen: set[str] = set()
        for seed in range(WALKS):
            replay = Replay(ledger)
            replay.walk(random.Random(seed))
            seen |= replay.seen
        assert seen == set(NEXT), "every state was met"
        ledger.redis.close()
