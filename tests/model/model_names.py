"""Names that do not matter: what differs by them alone is one state.

Hosts are alike, their GPUs are, and two of the environments. Of tokens it matters which are the same, and that a new
one is none that anybody remembers; only a bug makes their order matter.
"""

from __future__ import annotations

from collections.abc import Iterator

from model_world import (
    BUILDING,
    CLAIMED,
    GPUS,
    NOWHERE,
    QUEUED,
    STARTING,
    Container,
    Env,
    Host,
    Job,
    Ledger,
    Machine,
    World,
)

TWINS = (1, 2)  # environments with the same need
COUNTS_ATTEMPTS = frozenset({QUEUED, CLAIMED, BUILDING, STARTING})  # a start by its user begins to count anew


def canonical(world: World, ordered: bool = False) -> World:
    """The one world that stands for all that are the same but for names. `ordered` keeps the order of tokens."""
    found = [
        _renamed(world, hosts, envs, ordered) for hosts in _orders_of_hosts(world) for envs in _orders_of_twins(world)
    ]
    return found[0] if len(found) == 1 else min(found, key=lambda w: (w.ledger, w.machines, w.saved or ()))


def _orders_of_hosts(world: World) -> tuple[tuple[int, int], ...]:
    one, two = (_host_key(world, name) for name in (0, 1))
    if one == two:
        return (0, 1), (1, 0)
    return ((0, 1),) if one < two else ((1, 0),)


def _host_key(world: World, name: int) -> tuple[object, ...]:
    """What can be told of a host without names."""
    host, machine = world.ledger.hosts[name], world.machines[name]
    jobs = sorted([(job.phase, len(job.gpus)) for job in machine.jobs])
    held = sorted([(env.state, len(env.gpus)) for env in world.ledger.envs if env.host == name])
    return host.lost, host.free, machine.astray, machine.epoch == host.epoch, jobs, held


def _orders_of_twins(world: World) -> tuple[tuple[int, ...], ...]:
    envs = tuple(range(len(world.ledger.envs)))
    if len(envs) <= max(TWINS):
        return (envs,)
    one, two = (_env_key(world, twin) for twin in TWINS)
    if one == two:
        return (0, 1, 2), (0, 2, 1)
    return ((0, 1, 2),) if one < two else ((0, 2, 1),)


def _env_key(world: World, env_id: int) -> tuple[object, ...]:
    """What can be told of an environment without names."""
    env = world.ledger.envs[env_id]
    jobs = sorted([job.phase for machine in world.machines for job in machine.jobs if job.env == env_id])
    containers = sum([c.env == env_id for machine in world.machines for c in machine.containers])
    return env.state, env.token != 0, env.pin != NOWHERE, env.attempt, jobs, containers


class _Numbers(dict[int, int]):
    """Numbers by the order in which things are first met."""

    def __missing__(self, thing: int) -> int:
        self[thing] = number = len(self)
        return number


def _renamed(world: World, hosts: tuple[int, int], envs: tuple[int, ...], ordered: bool) -> World:
    """The world with hosts and environments in this order, and all else by the order in which it is met."""
    place_of = {NOWHERE: NOWHERE, hosts[0]: 0, hosts[1]: 1}
    env_of = {env_id: i for i, env_id in enumerate(envs)}
    token_of = {token: i for i, token in enumerate(sorted({0, *tokens(world)}))} if ordered else _Numbers({0: 0})
    gpu_of = (_Numbers(), _Numbers())

    def gpus(name: int, some: tuple[int, ...]) -> tuple[int, ...]:
        if not some:
            return some
        numbers, first = gpu_of[name], GPUS[place_of[name]][0]
        return tuple(sorted([first + numbers[gpu] for gpu in some]))

    def record(env: Env) -> Env:
        state, host, token, some, pin, attempt = env
        return Env(
            state, place_of[host], token_of[token], gpus(host, some), place_of[pin],
            attempt if state in COUNTS_ATTEMPTS else 1,
        )  # fmt: skip

    def ledger_of(ledger: Ledger) -> tuple[tuple[Env, ...], tuple[Host, ...]]:
        known = tuple(
            [Host(token_of[ledger.hosts[n].epoch], ledger.hosts[n].free, ledger.hosts[n].lost) for n in hosts]
        )
        return tuple([record(ledger.envs[env_id]) for env_id in envs]), known

    def machine_of(name: int) -> Machine:
        epoch, jobs, containers, astray = world.machines[name]
        if jobs:
            jobs = tuple(sorted([Job(env_of[e], token_of[t], gpus(name, some), phase) for e, t, some, phase in jobs]))
        if containers:
            containers = tuple(
                sorted([Container(env_of[e], token_of[t], gpus(name, some)) for e, t, some in containers])
            )
        return Machine(token_of[epoch], jobs, containers, astray)

    now = ledger_of(world.ledger)
    machines = (machine_of(hosts[0]), machine_of(hosts[1]))
    saved = ledger_of(world.saved) if world.saved else None
    newest = len(token_of) - 1
    last = token_of[world.ledger.last] if ordered else newest
    saved_last = token_of[world.saved.last] if world.saved and ordered else newest
    return World(Ledger(*now, last), machines, world.budget, Ledger(*saved, saved_last) if saved else None)


def tokens(world: World) -> Iterator[int]:
    for ledger in (world.ledger, world.saved):
        if ledger:
            yield from (ledger.last, *[env.token for env in ledger.envs], *[host.epoch for host in ledger.hosts])
    for machine in world.machines:
        yield from (machine.epoch, *[job.token for job in machine.jobs], *[c.token for c in machine.containers])
