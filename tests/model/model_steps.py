"""Every step that somebody can take in the model: workers, users, fate.

A step is one call of the ledger, or one thing that a worker does to its engine. Where a rule does two things at
once, a crash between them leads to a state that another rule leads to as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from model_ledger import (
    ALLOCATION_NOT_LOOKED_AT,
    CAPACITY_FIRST,
    NEVER_GIVEN_BACK,
    RELEASED_TWICE,
    STRANGERS_STAY,
    TOKENS_FROM_SNAPSHOT,
    advance,
    claim,
    claimable,
    give_all_back,
    give_back,
    moved,
    put,
    put_host,
    recomputed,
    release,
)
from model_world import (
    BUILDING,
    CLAIMED,
    DELETED,
    DELETING,
    FAILED,
    NEEDS,
    NOWHERE,
    QUEUED,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    UNBEGUN,
    Container,
    Host,
    Job,
    Ledger,
    Machine,
    World,
)

NONE: frozenset[str] = frozenset()


class Step(NamedTuple):
    """Who did what: a host by its number, an environment by its number."""

    what: str
    host: int = NOWHERE
    env: int = NOWHERE

    def __str__(self) -> str:
        parts = [f"host {self.host}"] if self.host != NOWHERE else []
        return " ".join([*parts, self.what, *([f"environment {self.env}"] if self.env != NOWHERE else [])])


Steps = Iterator[tuple[Step, World]]


def successors(world: World, bugs: frozenset[str] = NONE) -> Steps:
    """Every state that one step leads to."""
    yield from workers(world, bugs)
    yield from _users_ask(world)
    yield from _fate(world, bugs)


def workers(world: World, bugs: frozenset[str] = NONE) -> Steps:
    """What workers do of their own accord."""
    for name, machine in enumerate(world.machines):
        if not machine.epoch:
            yield _restarts(world, name, bugs)
            continue
        yield from _starts_containers(world, name)
        if machine.epoch == world.ledger.hosts[name].epoch:
            yield from _works(world, name, bugs)
        else:  # its next call is refused: it ends
            yield Step("is fenced and ends", name), _with_machine(world, name, machine._replace(epoch=0, jobs=()))


# workers


def _works(world: World, name: int, bugs: frozenset[str]) -> Steps:
    """The calls of a worker to the ledger."""
    host = world.ledger.hosts[name]
    if host.lost:
        yield Step("beats", name), world._replace(ledger=put_host(world.ledger, name, host._replace(lost=False)))
    yield from _ends_what_it_is_told_to(world, name, bugs)
    for job in world.machines[name].jobs:
        yield from _goes_on(world, name, job, bugs)
    yield from _begins(world, name)
    yield _compares(world, name, bugs)
    yield from _claims(world, name, bugs)


def _claims(world: World, name: int, bugs: frozenset[str]) -> Steps:
    """Its reply may get lost: a worker learns from the ledger, not from the reply, what it is to begin."""
    ledger = world.ledger
    if ledger.hosts[name].lost:
        return
    for env_id in claimable(ledger, name):
        if CAPACITY_FIRST in bugs:
            host = ledger.hosts[name]
            taken = put_host(ledger, name, host._replace(free=host.free - NEEDS[env_id]))
            yield Step("takes the capacity for", name, env_id), world._replace(ledger=taken)
        token = ledger.last + 1 if TOKENS_FROM_SNAPSHOT in bugs else _newest(world) + 1
        yield Step("claims", name, env_id), world._replace(ledger=claim(ledger, name, env_id, token))


def _begins(world: World, name: int) -> Steps:
    """The task of a claimed environment arrives, for the first time or again; its thread may end there."""
    machine = world.machines[name]
    busy = {job.env for job in machine.jobs}
    for env_id, env in enumerate(world.ledger.envs):
        if env.host == name and env.state == CLAIMED and env_id not in busy:
            begun = world._replace(ledger=advance(world.ledger, env_id, BUILDING))
            job = Job(env_id, env.token, env.gpus, 0)
            yield Step("begins", name, env_id), _with_machine(begun, name, _with_job(machine, job))
            yield Step("begins and forgets", name, env_id), begun


def _goes_on(world: World, name: int, job: Job, bugs: frozenset[str]) -> Steps:
    """The next call of a thread: it may start the container, it runs, it failed. Where it is refused it cleans up."""
    machine, ledger, env_id = world.machines[name], world.ledger, job.env
    env = ledger.envs[env_id]
    holds = (env.host, env.token) == (name, job.token) or ALLOCATION_NOT_LOOKED_AT in bugs
    without = _without(machine, job)
    expected = (BUILDING, None, STARTING)[job.phase]
    if job.phase == 1:
        return
    if not holds or env.state != expected:
        yield Step("is refused and leaves", name, env_id), _with_machine(world, name, _without_container(without, job))
        return
    if job.phase == 0:
        started = world._replace(ledger=advance(ledger, env_id, STARTING))
        yield Step("may start", name, env_id), _with_machine(started, name, _with_job(without, job._replace(phase=1)))
    else:
        ran = world._replace(ledger=advance(ledger, env_id, RUNNING))
        yield Step("runs", name, env_id), _with_machine(ran, name, without)
    after = release(ledger, env_id, FAILED) if env.pin == NOWHERE else advance(ledger, env_id, STOPPING)
    cleaned = _with_machine(world, name, _without_container(without, job))
    yield Step("cannot make", name, env_id), cleaned._replace(ledger=after)


def _starts_containers(world: World, name: int) -> Steps:
    """What a worker does without asking the ledger again. A container of the same name is replaced."""
    machine = world.machines[name]
    for job in machine.jobs:
        if job.phase == 1:
            others = [c for c in machine.containers if c.env != job.env]
            made = tuple(sorted([*others, Container(job.env, job.token, job.gpus)]))
            next_job = _with_job(_without(machine, job), job._replace(phase=2))
            yield Step("starts", name, job.env), _with_machine(world, name, next_job._replace(containers=made))


def _ends_what_it_is_told_to(world: World, name: int, bugs: frozenset[str]) -> Steps:
    """Stop or remove: the container first, then the allocation. One thread at a time works on an environment."""
    machine = world.machines[name]
    busy = {job.env for job in machine.jobs}
    for env_id, env in enumerate(world.ledger.envs):
        if env.host != name or env.state not in (STOPPING, DELETING) or env_id in busy:
            continue
        others = tuple([c for c in machine.containers if c.env != env_id])
        if len(others) != len(machine.containers):
            yield (
                Step("ends the container of", name, env_id),
                _with_machine(world, name, machine._replace(containers=others)),
            )
            continue
        after = release(world.ledger, env_id, STOPPED if env.state == STOPPING else DELETED)
        yield Step("releases", name, env_id), world._replace(ledger=after)
        if RELEASED_TWICE in bugs:
            again = after.hosts[name]._replace(free=after.hosts[name].free + NEEDS[env_id])
            yield Step("releases twice", name, env_id), world._replace(ledger=put_host(after, name, again))


def _compares(world: World, name: int, bugs: frozenset[str]) -> tuple[Step, World]:
    """Containers against allocations: strangers go, what should run and does not is stopped.

    What no thread works on runs where it was started, and else waits again.
    """
    machine, ledger = world.machines[name], world.ledger
    busy = {job.env for job in machine.jobs}
    kept = []
    for container in machine.containers:
        env = ledger.envs[container.env]
        known = env.host == name and env.token == container.token and env.state != BUILDING
        if container.env in busy or known or STRANGERS_STAY in bugs:
            kept.append(container)
    there = {(container.env, container.token) for container in kept}
    newest = _newest(world)
    for env_id, env in enumerate(ledger.envs):
        if env.host != name or env_id in busy:
            continue
        if env.state == RUNNING and (env_id, env.token) not in there:
            ledger = put(ledger, env_id, moved(env, STOPPING))
        elif env.state == STARTING and (env_id, env.token) in there:
            ledger = advance(ledger, env_id, RUNNING)
        elif env.state in (BUILDING, STARTING) and NEVER_GIVEN_BACK not in bugs:
            newest += 1
            ledger = give_back(ledger, env_id, newest)
    compared = machine._replace(
        containers=tuple(kept), astray=machine.astray and _odd(ledger, name, machine.jobs, kept)
    )
    return Step("compares", name), _with_machine(world._replace(ledger=recomputed(ledger, name)), name, compared)


def _odd(ledger: Ledger, name: int, jobs: tuple[Job, ...], containers: list[Container]) -> bool:
    """Whether a thread, or a container that it may replace, is at what the ledger knows nothing of."""
    at = [(job.env, job.token, job.phase > 0) for job in jobs] + [(c.env, c.token, True) for c in containers]
    for env_id, token, starting in at:
        env = ledger.envs[env_id]
        if (env.host, env.token) != (name, token) or (starting and env.state in UNBEGUN):
            return True
    return False


def _restarts(world: World, name: int, bugs: frozenset[str]) -> tuple[Step, World]:
    """A new process registers: it fences those before, and what they had not begun to start waits again."""
    ledger, epoch = world.ledger, _newest(world) + 1
    host = Host(epoch, ledger.hosts[name].free)
    ledger = give_all_back(put_host(ledger, name, host)._replace(last=epoch), name, epoch, bugs)
    machine = world.machines[name]._replace(epoch=epoch, jobs=())
    return Step("restarts", name), _with_machine(world._replace(ledger=ledger), name, machine)


# users


def _users_ask(world: World) -> Steps:
    ledger, budget = world.ledger, world.budget
    for env_id, env in enumerate(ledger.envs):
        if budget.deletes and env.state not in (DELETING, DELETED):
            gone = env.state == FAILED or (env.state == QUEUED and env.pin == NOWHERE)
            after = put(ledger, env_id, moved(env, DELETED if gone else DELETING))
            yield (
                Step("delete", env=env_id),
                world._replace(ledger=after, budget=budget._replace(deletes=budget.deletes - 1)),
            )
        if budget.stops and env.state in (RUNNING, STOPPED):
            next_env = moved(env, STOPPING) if env.state == RUNNING else moved(env, QUEUED, attempt=1)
            yield (
                Step("stop" if env.state == RUNNING else "start", env=env_id),
                world._replace(ledger=put(ledger, env_id, next_env), budget=budget._replace(stops=budget.stops - 1)),
            )


# fate


def _fate(world: World, bugs: frozenset[str]) -> Steps:
    budget, ledger = world.budget, world.ledger
    for name, machine in enumerate(world.machines):
        if budget.crashes and machine.epoch:
            crashed = world._replace(budget=budget._replace(crashes=budget.crashes - 1))
            dead = machine._replace(epoch=0, jobs=())
            yield Step("crashes", name), _with_machine(crashed, name, dead)
            if machine.containers:
                yield Step("reboots", name), _with_machine(crashed, name, dead._replace(containers=()))
        if budget.silences and not ledger.hosts[name].lost:
            lost = put_host(ledger, name, ledger.hosts[name]._replace(lost=True))
            after = give_all_back(lost, name, _newest(world), bugs)
            spent = budget._replace(silences=budget.silences - 1)
            yield Step("falls silent", name), world._replace(ledger=after, budget=spent)
    if budget.rollbacks and world.saved is None:
        yield Step("a snapshot is taken"), world._replace(saved=ledger)
    if budget.rollbacks and world.saved is not None and world.saved != ledger:
        machines = tuple([machine._replace(astray=True) for machine in world.machines])
        spent = budget._replace(rollbacks=budget.rollbacks - 1)
        yield Step("Redis comes back as the snapshot"), World(world.saved, machines, spent)


# small tools


def _newest(world: World) -> int:
    """The largest token that anybody remembers: the clock is ahead of it."""
    tokens = [world.ledger.last, *[env.token for env in world.ledger.envs]]
    for machine in world.machines:
        tokens += [machine.epoch, *[job.token for job in machine.jobs], *[c.token for c in machine.containers]]
    if world.saved:
        tokens.append(world.saved.last)
    return max(tokens)


def _with_machine(world: World, name: int, machine: Machine) -> World:
    machines = world.machines
    pair = (machine, machines[1]) if name == 0 else (machines[0], machine)
    return World(world.ledger, pair, world.budget, world.saved)


def _with_job(machine: Machine, job: Job) -> Machine:
    return machine._replace(jobs=tuple(sorted([*machine.jobs, job])))


def _without(machine: Machine, job: Job) -> Machine:
    return machine._replace(jobs=tuple([other for other in machine.jobs if other != job]))


def _without_container(machine: Machine, job: Job) -> Machine:
    kept = tuple([c for c in machine.containers if (c.env, c.token) != (job.env, job.token)])
    return machine._replace(containers=kept)
