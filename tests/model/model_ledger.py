"""The ledger's functions in the model: what `ledger_lua/` does, by the same table of states."""

from __future__ import annotations

from collections.abc import Iterator

from model_world import (
    BUILDING,
    CLAIMED,
    FAILED,
    MAX_ATTEMPTS,
    NEEDS,
    NEXT,
    NOWHERE,
    QUEUED,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    UNBEGUN,
    Broken,
    Env,
    Host,
    Ledger,
    freed,
)

ALLOCATION_NOT_LOOKED_AT = "host and token of an allocation are not looked at"
RELEASED_TWICE = "a release that comes twice is done twice"
CAPACITY_FIRST = "capacity is taken before the GPUs"
TOKENS_FROM_SNAPSHOT = "tokens are counted from what a snapshot remembers"
STARTING_GIVEN_AWAY = "what is being started is given away when its host falls silent"
NEVER_GIVEN_BACK = "what no thread works on is never given back"
STRANGERS_STAY = "a container without an allocation is left alone"
BUGS = (
    ALLOCATION_NOT_LOOKED_AT, RELEASED_TWICE, CAPACITY_FIRST, TOKENS_FROM_SNAPSHOT, STARTING_GIVEN_AWAY,
    NEVER_GIVEN_BACK, STRANGERS_STAY,
)  # fmt: skip


def moved(env: Env, state: str, **changes: object) -> Env:
    """An environment in its next state."""
    if state not in NEXT[env.state]:
        raise Broken(f"there is no way from {env.state} to {state}")
    return env._replace(state=state, **changes)  # type: ignore[arg-type]


def put(ledger: Ledger, env_id: int, env: Env) -> Ledger:
    return Ledger((*ledger.envs[:env_id], env, *ledger.envs[env_id + 1 :]), ledger.hosts, ledger.last)


def put_host(ledger: Ledger, name: int, host: Host) -> Ledger:
    return Ledger(ledger.envs, (*ledger.hosts[:name], host, *ledger.hosts[name + 1 :]), ledger.last)


def recomputed(ledger: Ledger, name: int) -> Ledger:
    """Free = inventory - allocations."""
    return put_host(ledger, name, ledger.hosts[name]._replace(free=len(freed(ledger, name))))


def claimable(ledger: Ledger, name: int) -> Iterator[int]:
    """Those that wait and fit a host."""
    host = ledger.hosts[name]
    for env_id, env in enumerate(ledger.envs):
        if env.state == QUEUED and env.pin in (NOWHERE, name) and NEEDS[env_id] <= host.free:
            yield env_id


def claim(ledger: Ledger, name: int, env_id: int, token: int) -> Ledger:
    """Capacity, GPUs and token in one step."""
    need, host = NEEDS[env_id], ledger.hosts[name]
    gpus = freed(ledger, name)[:need]
    env = moved(ledger.envs[env_id], CLAIMED, host=name, token=token, gpus=gpus)
    return put_host(put(ledger, env_id, env), name, host._replace(free=host.free - need))._replace(last=token)


def advance(ledger: Ledger, env_id: int, state: str) -> Ledger:
    env = moved(ledger.envs[env_id], state)
    return put(ledger, env_id, env._replace(pin=env.host) if state == RUNNING else env)


def release(ledger: Ledger, env_id: int, state: str) -> Ledger:
    """Capacity comes back once; what is stopped keeps its place."""
    env = ledger.envs[env_id]
    kept = {"pin": env.host} if state == STOPPED else {"token": 0, "host": NOWHERE, "pin": NOWHERE}
    return recomputed(put(ledger, env_id, moved(env, state, gpus=(), **kept)), env.host)


def give_back(ledger: Ledger, env_id: int, token: int) -> Ledger:
    """Into the queue again, or the end after too many attempts; where there is storage it is kept."""
    env = ledger.envs[env_id]
    kept = env.pin != NOWHERE
    place = {"host": env.host, "token": token} if kept else {"host": NOWHERE, "token": 0}
    if kept:
        ledger = ledger._replace(last=token)
    attempt = env.attempt + (env.state != CLAIMED)
    if attempt <= MAX_ATTEMPTS:
        after = moved(env, QUEUED, attempt=attempt, gpus=(), **place)
    elif kept:
        after = moved(moved(env, STOPPING), STOPPED, attempt=env.attempt, gpus=(), **place)
    else:
        after = moved(env, FAILED, gpus=(), **place)
    return recomputed(put(ledger, env_id, after), env.host)


def give_all_back(ledger: Ledger, name: int, newest: int, bugs: frozenset[str]) -> Ledger:
    """What a host has not begun to start: nothing of it can be running there."""
    given = (CLAIMED, BUILDING, STARTING) if STARTING_GIVEN_AWAY in bugs else UNBEGUN
    for env_id, env in enumerate(ledger.envs):
        if env.host == name and env.state in given:
            newest += 1
            ledger = give_back(ledger, env_id, newest)
    return ledger
