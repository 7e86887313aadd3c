"""A small world around a real ledger: machines with containers, worker processes that die, messages that get lost.

Each step does what a worker, a user or fate does, and keeps what only they can know: which containers exist, which
tokens were ever given. `agree` is what must hold when every host has compared its containers with the ledger.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import ledger_state
from ledger_parts import PREFIX

from common.errors import Fenced, LedgerError, NotFound
from common.inventory import Inventory
from common.ledger import Ledger, new_request
from common.states import Reason, State

LEASE_MS = 40_000
STEPS = (State.BUILDING, State.STARTING, State.RUNNING)
PROGRESS = {State.BUILDING: 5, State.STARTING: 90, State.RUNNING: 100, State.STOPPING: 0}


@dataclass
class Container:
    token: int
    running: bool = True


@dataclass
class Process:
    """One worker process: what it knows is gone when it dies."""

    instance: str
    epoch: str
    jobs: dict[tuple[str, int], int] = field(default_factory=dict)  # (id, token) of what it makes → steps that are done


@dataclass
class Machine:
    name: str
    inventory: Inventory
    containers: dict[str, Container] = field(default_factory=dict)
    process: Process | None = None
    processes: list[Process] = field(default_factory=list)  # all that there ever were


class World:
    """Machines around a ledger. Every method is one thing that can happen."""

    def __init__(self, ledger: Ledger, machines: list[Machine]):
        self.ledger = ledger
        self.machines = {machine.name: machine for machine in machines}
        self.accepted: set[str] = set()
        self.backup: tuple[dict[str, tuple[bytes, int]], set[str]] | None = None
        self.given: dict[int, str] = {}  # every token and epoch ever seen, and whose it was
        self.changed = 0.0  # when something last came to wait, by time.monotonic
        self.states: dict[str, str] = {}  # id → state, at the last check
        self.odd: set[tuple[str, int]] = set()  # what was under way when Redis was rolled back
        for machine in machines:
            self.join(machine)

    # calls

    def call(self, function: str, *args: Any, twice: bool = False) -> Any:
        """A call that may reach the ledger twice: the same answer, and nothing changes the second time."""
        if function in ("claim", "expire"):
            self.let_time_pass()
        answer, error = self._answer(function, *args)
        if function not in ("claim", "todo", "heartbeat", "reconcile"):
            self.changed = time.monotonic()
        if twice:
            before = ledger_state.snapshot(self.ledger.redis, PREFIX)
            again, same = self._answer(function, *args)
            assert (again, repr(same)) == (answer, repr(error))
            assert_same(before, ledger_state.snapshot(self.ledger.redis, PREFIX))
        if error:
            raise error
        return answer

    def let_time_pass(self) -> None:
        """What waits has waited for 2 ms, so that a patience of 1 ms is over: the same whenever a run is repeated."""
        time.sleep(max(0.0, self.changed + 0.003 - time.monotonic()))

    def _answer(self, function: str, *args: Any) -> tuple[Any, LedgerError | None]:
        try:
            return self.ledger._call(function, *args), None
        except LedgerError as error:
            return None, error

    # users

    def submit(self, submit: dict[str, Any], *, twice: bool) -> None:
        try:
            env_id = self.call("submit", *submit.values(), twice=twice)
        except LedgerError:
            return
        self.accepted.add(env_id)

    def ask(self, what: str, env_id: str, *, twice: bool) -> None:
        """stop, start or delete."""
        try:
            self.call(what, env_id, *([Reason.USER_REQUEST] if what == "stop" else []), twice=twice)
        except LedgerError:
            return

    # workers

    def join(self, machine: Machine, *, same: bool = False) -> None:
        """A new process of a machine, or the same one with a new inventory."""
        instance = machine.process.instance if same and machine.process else new_request()
        text = json.dumps(asdict(machine.inventory))
        try:
            epoch = self.ledger._call("register", machine.name, "machine", instance, LEASE_MS, text)
        except LedgerError:
            return
        if not same or machine.process is None:
            machine.process = Process(instance, epoch)
            machine.processes.append(machine.process)
        machine.process.epoch = epoch

    def claim(self, machine: Machine, *, twice: bool, lost: bool, most: int = 1) -> bool:
        """One claim of so many; its reply may get lost, and then only `todo` tells of it."""
        process = machine.process
        if process is None:
            return False
        request = new_request()
        reply = self._serve(machine, "claim", machine.name, process.epoch, request, most)
        if not isinstance(reply, list):
            return False
        self._suits(machine)
        if twice:
            before = ledger_state.snapshot(self.ledger.redis, PREFIX)
            assert self.ledger._call("claim", machine.name, process.epoch, request, most) == reply
            assert_same(before, ledger_state.snapshot(self.ledger.redis, PREFIX))
        if not lost:
            process.jobs |= {(env_id, int(token)): 0 for env_id, _, _, token, *_ in reply}
        return True

    def _suits(self, machine: Machine) -> None:
        """What a host has just claimed it makes the system of, or has the storage of."""
        state = ledger_state.snapshot(self.ledger.redis, PREFIX)
        host = state.hosts[machine.name]
        for env_id in state.allocations.get(machine.name, {}):
            env = state.environments[env_id]
            if env["state"] == "claimed" and not env["pin"] and env["by"] == host["claim_by"]:
                assert ledger_state.makes(host, ledger_state.Shape.of(env["shape"])), f"{machine.name} took {env}"

    def step(self, machine: Machine, job: tuple[str, int], *, twice: bool, dies: bool = False) -> None:
        """The next step of a job. The container is there before the ledger says that it runs, or its worker dies."""
        process = machine.process
        if process is None or job not in process.jobs:
            return
        (env_id, token), done = job, process.jobs.pop(job)
        state = STEPS[done]
        if state is State.RUNNING:
            machine.containers[env_id] = Container(token)
        if dies:
            machine.process = None
            return
        args = (machine.name, process.epoch, env_id, token, state, "", PROGRESS[state], "", "", new_request())
        if self._serve(machine, "advance", *args, twice=twice) is None:
            if machine.containers.get(env_id, Container(0)).token == token:
                del machine.containers[env_id]
        elif state is not State.RUNNING:
            process.jobs[job] = done + 1

    def give_up(self, machine: Machine, job: tuple[str, int], *, twice: bool) -> None:
        """A job fails, or cannot be gone on with."""
        process = machine.process
        if process is None or process.jobs.pop(job, None) is None:
            return
        env_id, token = job
        where = (machine.name, process.epoch, env_id, token)
        if int(env_id[1:]) % 2:  # not by the token, which a clock gives: a run must be the same when it is repeated
            self._serve(machine, "give_back", *where, Reason.WORKER_RESTARTED, new_request(), twice=twice)
        else:
            self._serve(machine, "release", *where, State.FAILED, Reason.INTERNAL, "", new_request(), twice=twice)

    def serve(self, machine: Machine, *, twice: bool) -> None:
        """Do what the ledger says is to be done: begin, stop, remove."""
        process = machine.process
        flat = self._serve(machine, "todo", machine.name, process.epoch) if process else None
        for env_id, state, token in zip(*[iter(flat or [])] * 3, strict=True):
            if machine.process is not process:
                return
            if state == State.CLAIMED:
                process.jobs.setdefault((env_id, int(token)), 0)
                continue
            process.jobs.pop((env_id, int(token)), None)
            machine.containers.pop(env_id, None)
            after = State.STOPPED if state == State.STOPPING else State.DELETED
            args = (machine.name, process.epoch, env_id, token, after, Reason.USER_REQUEST, "", new_request())
            self._serve(machine, "release", *args, twice=twice)

    def reconcile(self, machine: Machine) -> None:
        """Compare containers with the ledger and mend what differs, as a worker's sweep does."""
        process = machine.process
        if process is None:
            return
        running = {i: c.token for i, c in machine.containers.items() if c.running}
        flat = [part for item in running.items() for part in item]
        answer = self._serve(machine, "reconcile", machine.name, process.epoch, *flat)
        if answer is None:
            return
        difference = json.loads(answer)
        for env_id in difference["missing"]:
            token = self.ledger.get(env_id).token
            args = (machine.name, process.epoch, env_id, token, State.STOPPING, "", 0, "", Reason.CONTAINER_LOST)
            self._serve(machine, "advance", *args, new_request())
        for env_id in difference["making"]:
            environment = self.ledger.get(env_id)
            token = environment.token
            if (env_id, token) not in process.jobs:
                if environment.state is State.STARTING and running.get(env_id) == token:
                    args = (machine.name, process.epoch, env_id, token, State.RUNNING, "", 100, "", "", new_request())
                    self._serve(machine, "advance", *args)
                    continue
                machine.containers.pop(env_id, None)
                self._serve(
                    machine,
                    "give_back",
                    machine.name,
                    process.epoch,
                    env_id,
                    token,
                    Reason.WORKER_RESTARTED,
                    new_request(),
                )
        for env_id, container in list(machine.containers.items()):
            orphan = env_id in difference["orphans"] or (not container.running and not self._allocated(machine, env_id))
            if orphan and (env_id, container.token) not in process.jobs:
                del machine.containers[env_id]

    def _allocated(self, machine: Machine, env_id: str) -> bool:
        try:
            found = self.ledger.get(env_id)
        except NotFound:
            return False
        return (found.host, found.token) == (machine.name, machine.containers[env_id].token)

    def beat(self, machine: Machine) -> None:
        if machine.process:
            self._serve(machine, "heartbeat", machine.name, machine.process.epoch)

    def _serve(self, machine: Machine, function: str, *args: Any, twice: bool = False) -> Any:
        """A worker's call; None where it was refused. A process that is fenced or forgotten ends."""
        stale = function in ("advance", "release", "give_back") and not self._is_token(args[2], args[3])
        before = ledger_state.snapshot(self.ledger.redis, PREFIX) if stale else None
        try:
            answer = self.call(function, *args, twice=twice)
            assert not stale, f"{function} with a stale token was served"
            return answer
        except (Fenced, NotFound) as error:
            if isinstance(error, Fenced) or "host" in str(error):
                machine.process = None
            return None
        except LedgerError:
            return None
        finally:
            if before:
                assert_same(before, ledger_state.snapshot(self.ledger.redis, PREFIX))

    def _is_token(self, env_id: str, token: int | str) -> bool:
        return self.ledger.redis.hget(self.ledger.keys.environment(env_id), "token") == str(token)

    # fate

    def crash(self, machine: Machine, *, reboot: bool) -> None:
        """The process dies; with a reboot its containers end too."""
        machine.process = None
        if reboot:
            machine.containers.clear()

    def container_ends(self, machine: Machine, env_id: str) -> None:
        if env_id in machine.containers:
            machine.containers[env_id].running = False

    def ghost(self, machine: Machine, which: int) -> None:
        """A process from the past speaks up: it is told that it is fenced, and nothing changes."""
        if not machine.processes or (old := machine.processes[which % len(machine.processes)]) is machine.process:
            return
        name = machine.name
        epoch = self.ledger.redis.hget(self.ledger.keys.host(name), "epoch")
        if epoch in (None, old.epoch):
            return  # the ledger was restored from when this one was the present one, or forgot the host
        before = ledger_state.snapshot(self.ledger.redis, PREFIX)
        calls = [("heartbeat",), ("claim", new_request(), 1), ("todo",), ("reconcile",)]
        for (env_id, token), done in old.jobs.items():
            state = STEPS[done]
            calls.append(("advance", env_id, token, state, "", PROGRESS[state], "", "", new_request()))
            calls.append(("release", env_id, token, State.FAILED, Reason.INTERNAL, "", new_request()))
        for function, *args in calls:
            try:
                self.ledger._call(function, name, old.epoch, *args)
            except Fenced:
                continue
            raise AssertionError(f"{function} of a fenced process was served")
        assert_same(before, ledger_state.snapshot(self.ledger.redis, PREFIX))

    def fall_silent(self, machine: Machine) -> None:
        """The lease ends, whether or not the process is alive."""
        keys = self.ledger.keys
        if (self.ledger.redis.zscore(keys.hosts(), machine.name) or 0) > 0:
            self.ledger.redis.zadd(keys.hosts(), {machine.name: 1})

    def silent(self) -> list[str]:
        """Hosts that the ledger gave up."""
        return cast(list[str], self.ledger.redis.zrangebyscore(self.ledger.keys.hosts(), "-inf", 0))

    def lose_nudge(self, machine: Machine) -> None:
        self.ledger.redis.delete(self.ledger.keys.wake(machine.name))

    def forget(self, machine: Machine, *, force: bool) -> None:
        try:
            self.ledger.forget(machine.name, force=force)
        except LedgerError:
            return

    def save(self) -> None:
        """Copy all keys, as a snapshot of Redis would."""
        client = self.ledger.redis
        keys = {key: (client.dump(key), max(client.pttl(key), 0)) for key in client.keys(f"{PREFIX}:*")}
        self.backup = (keys, set(self.accepted))

    def roll_back(self) -> None:
        """Redis comes up with the saved copy. Hosts learn of it at their next call, and compare."""
        if self.backup is None:
            return
        client, (keys, accepted) = self.ledger.redis, self.backup
        client.delete(*client.keys(f"{PREFIX}:*"))
        for key, (dump, ttl) in keys.items():
            client.restore(key, ttl, dump)
        self.accepted = set(accepted)
        self.odd |= {job for machine in self.machines.values() if machine.process for job in machine.process.jobs}
        time.sleep(0.002)  # no copy is restored within a ms
        self.settle()

    def restart_redis(self, *, forgetful: bool) -> None:
        """Redis comes up with all that it wrote down; `forgetful` without the functions, as from an older copy."""
        before = ledger_state.snapshot(self.ledger.redis, PREFIX)
        self.ledger.redis.execute_command("DEBUG", "RELOAD")
        if forgetful:
            self.ledger.redis.function_flush("SYNC")
        assert_same(before, ledger_state.snapshot(self.ledger.redis, PREFIX))

    def settle(self) -> None:
        """Every worker is up, has beaten and compared once: containers and ledger agree."""
        for machine in self.machines.values():
            self.beat(machine)
            if machine.process is None:
                self.join(machine)
            self.reconcile(machine)
        self.agree()

    def everybody_looks(self) -> None:
        """One sweep: every worker looks at the queue. What still waits fits no host that is free to take it."""
        self.call("configure", "defer_ms", 1)
        claimed = True
        while claimed:
            claimed = any(self.claim(machine, twice=False, lost=False) for machine in self.machines.values())
        state = ledger_state.snapshot(self.ledger.redis, PREFIX)
        for machine in self.machines.values():
            host = state.hosts.get(machine.name)
            if machine.process is None or host is None or host["open"] != "1" or host["reserved"]:
                continue
            fits = ledger_state.fitting(state, machine.name)
            assert not fits, f"{fits} would fit {machine.name}"

    # what must hold

    def check(self) -> None:
        """Every promise that holds between any two steps."""
        state = ledger_state.check(self.ledger.redis, PREFIX)
        self.states = {env_id: env["state"] for env_id, env in state.environments.items()}
        assert self.accepted <= set(self.states), "what was accepted is lost"
        tokens = {int(env["token"]): env_id for env_id, env in state.environments.items() if env["token"] != "0"}
        tokens |= {int(host["epoch"]): name for name, host in state.hosts.items()}
        new = tokens.keys() - self.given.keys()
        assert not new or not self.given or min(new) > max(self.given), "tokens rise"
        assert all(self.given.get(token, of) == of for token, of in tokens.items()), "a token was given twice"
        self.given |= tokens
        made: dict[str, list[str]] = {}
        for machine in self.machines.values():
            for env_id, container in machine.containers.items():
                env = state.environments.get(env_id, {"state": "deleted"})
                if (env_id, container.token) in self.odd or env["state"] in ("failed", "deleted"):
                    continue  # an operator gave the host up, or Redis was rolled back: the next comparison ends it
                made.setdefault(env_id, []).append(machine.name)
                held = (env["host"], int(env["token"])) == (machine.name, container.token)
                assert held, f"{machine.name} has a container of {env_id} with {container.token}, and it is {env}"
        assert all(len(names) == 1 for names in made.values()), f"running on several hosts: {made}"

    def agree(self) -> None:
        """Every container has an allocation, and every environment that runs a container, on one host."""
        state = ledger_state.check(self.ledger.redis, PREFIX)
        for machine in self.machines.values():
            if machine.process is None:
                continue
            for env_id, container in machine.containers.items():
                env = state.environments.get(env_id)
                assert env is not None, f"{env_id} has a container and no record"
                assert (env["host"], int(env["token"])) == (machine.name, container.token), f"{env_id}: {env}"
            for env_id, env in state.environments.items():
                if env["state"] == "running" and env["host"] == machine.name:
                    assert machine.containers[env_id].token == int(env["token"])


def assert_same(before: ledger_state.Snapshot, after: ledger_state.Snapshot) -> None:
    """Nothing has changed but when leases end and what time removes by itself."""
    for state in (before, after):
        state.zsets.pop("hosts", None)
        state.strings.pop("swept", None)
    assert before == after
