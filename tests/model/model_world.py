"""The ledger, its workers and fate as a small machine of immutable tuples, to be searched exhaustively.

Two hosts of three GPUs each, three environments, two of them alike. States are plain strings: an enum's member is
hashed by Python code, which would take most of the time of a search.
"""

from __future__ import annotations

from typing import NamedTuple

from common.states import ON_HOST, TRANSITIONS, State

QUEUED, CLAIMED, BUILDING, STARTING, RUNNING, STOPPING, STOPPED, FAILED, DELETING, DELETED = (s.value for s in State)
NEXT = {before.value: {after.value for after in states} for before, states in TRANSITIONS.items()}
WITH_GPUS = frozenset(state.value for state in ON_HOST)
CALM = frozenset({QUEUED, RUNNING, STOPPED, FAILED, DELETED})
GIVES_UP = frozenset({CLAIMED, BUILDING, STARTING})  # by stopping to stopped in one call, where there are files
UNBEGUN = (CLAIMED, BUILDING)  # no container can be there yet

GPUS = ((0, 1, 2), (3, 4, 5))  # of each host
NEEDS = (1, 2, 2)  # GPUs of each environment; the last two are alike
MAX_ATTEMPTS = 2
NOWHERE = -1


class Env(NamedTuple):
    """A record and its allocation."""

    state: str = QUEUED
    host: int = NOWHERE
    token: int = 0
    gpus: tuple[int, ...] = ()
    pin: int = NOWHERE
    attempt: int = 1


class Host(NamedTuple):
    """What the ledger knows of a host. `free` counts GPUs, beside the list that the allocations make."""

    epoch: int
    free: int
    lost: bool = False


class Ledger(NamedTuple):
    """What is in Redis, and comes back when it is rolled back."""

    envs: tuple[Env, ...]
    hosts: tuple[Host, ...]
    last: int


class Job(NamedTuple):
    """What a thread of a worker is at: 0 it builds, 1 it may start the container, 2 it has."""

    env: int
    token: int
    gpus: tuple[int, ...]
    phase: int


class Container(NamedTuple):
    env: int
    token: int
    gpus: tuple[int, ...]


class Machine(NamedTuple):
    """A machine: its containers, and its worker process (epoch 0: none) with what it knows."""

    epoch: int
    jobs: tuple[Job, ...] = ()
    containers: tuple[Container, ...] = ()
    astray: bool = False  # Redis was rolled back, and this host has not compared since


class Budget(NamedTuple):
    """Faults and wishes that may still come. Lost and repeated messages and replies cost nothing."""

    crashes: int = 0
    silences: int = 0
    rollbacks: int = 0
    deletes: int = 0
    stops: int = 0


class World(NamedTuple):
    ledger: Ledger
    machines: tuple[Machine, ...]
    budget: Budget
    saved: Ledger | None = None


class Broken(AssertionError):
    """A promise does not hold."""


def beginning(budget: Budget, environments: int = len(NEEDS)) -> World:
    """Everything waits; both workers have joined."""
    hosts = tuple(Host(epoch=i + 1, free=len(gpus)) for i, gpus in enumerate(GPUS))
    ledger = Ledger((Env(),) * environments, hosts, last=len(GPUS))
    return World(ledger, tuple(Machine(epoch=host.epoch) for host in hosts), budget)


def freed(ledger: Ledger, name: int) -> tuple[int, ...]:
    """The GPUs of a host that no allocation has."""
    held = [gpu for env in ledger.envs if env.host == name for gpu in env.gpus]
    return tuple(gpu for gpu in GPUS[name] if gpu not in held)


# what must hold


def check(world: World) -> None:
    """The promises that hold in every state. Raises Broken."""
    ledger = world.ledger
    held = [gpu for env in ledger.envs for gpu in env.gpus]
    if len(held) != len(set(held)):
        raise Broken("a GPU is in two allocations")
    for name, host in enumerate(ledger.hosts):
        if host.free < 0 or host.free != len(freed(ledger, name)):
            raise Broken("free and allocations are not the inventory")
    given = [env.token for env in ledger.envs if env.token] + [host.epoch for host in ledger.hosts]
    if len(given) != len(set(given)):
        raise Broken("a token was given twice")
    for env_id, env in enumerate(ledger.envs):
        if env.state in WITH_GPUS and (env.host == NOWHERE or len(env.gpus) != NEEDS[env_id]):
            raise Broken(f"{env.state} without its allocation")
        if env.state in CALM and env.state != RUNNING and env.gpus:
            raise Broken(f"{env.state} holds GPUs")
    if not any(machine.astray for machine in world.machines):
        _check_engines(world)  # after a rollback the engine is looked at when every host has compared once


def _check_engines(world: World) -> None:
    running = [container.env for machine in world.machines for container in machine.containers]
    if len(running) != len(set(running)):
        raise Broken("an environment has two containers")
    for name, machine in enumerate(world.machines):
        for container in machine.containers:
            env = world.ledger.envs[container.env]
            if env.host != name or env.token != container.token:
                raise Broken("a container without an allocation")
            if env.gpus != container.gpus:
                raise Broken("a container with GPUs that are not its own")


def check_step(before: World, after: World) -> None:
    """What one step may do: states by the table alone, tokens that only rise, unless Redis was rolled back."""
    if before.budget.rollbacks != after.budget.rollbacks:
        return
    if after.ledger.last < before.ledger.last:
        raise Broken("the last token fell")
    for old, new in zip(before.ledger.envs, after.ledger.envs, strict=True):
        if old is new:
            continue
        told = NEXT[old.state] | ({STOPPED} if old.state in GIVES_UP else set())
        if old.state != new.state and new.state not in told:
            raise Broken(f"there is no way from {old.state} to {new.state}")
        if new.token and new.token != old.token:
            if new.token <= before.ledger.last:
                raise Broken("a token that is not above the last")
            if any(new.token == item.token for m in before.machines for item in (*m.jobs, *m.containers)):
                raise Broken("a token that a worker remembers from before Redis was rolled back")


def check_calm(world: World) -> None:
    """When nobody has anything left to do: all waits in vain, runs, rests or has ended, and the engines agree."""
    for name, machine in enumerate(world.machines):
        there = {(container.env, container.token) for container in machine.containers}
        due = {(i, env.token) for i, env in enumerate(world.ledger.envs) if env.host == name and env.state == RUNNING}
        if there != due or machine.jobs or machine.astray:
            raise Broken(f"engine and ledger do not agree: {there} runs, {due} should")
    for env_id, env in enumerate(world.ledger.envs):
        if env.state not in CALM:
            raise Broken(f"{env.state} for ever")
        hosts = [name for name, host in enumerate(world.ledger.hosts) if host.free >= NEEDS[env_id]]
        if env.state == QUEUED and (env.pin in hosts if env.pin != NOWHERE else hosts):
            raise Broken("it waits for ever, and would fit")
