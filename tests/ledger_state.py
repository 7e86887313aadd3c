"""All keys of a ledger at one moment, and every promise that they must keep between two calls.

    problems = ledger_state.problems(ledger_state.snapshot(client, prefix))

The snapshot is one script, so it is atomic; it can be taken while others work. What is checked here is written
down again from the header of `ledger_lua/keys.lua`, not taken from the code that it checks.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import redis

from common.states import TRANSITIONS, State

MAKING = {"claimed", "building", "starting"}
WORKING = MAKING | {"running", "stopping"}

_SNAPSHOT = """
local result = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. ':*')) do
  local kind, value = redis.call('TYPE', key).ok, nil
  if kind == 'string' then value = redis.call('GET', key)
  elseif kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif ARGV[2] == '1' then value = redis.call('XRANGE', key, '-', '+')
  else value = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1) end
  result[#result + 1] = { key, kind, value }
end
return result
"""


@dataclass
class Snapshot:
    """Keys without their prefix, by what they are of."""

    strings: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    zsets: dict[str, dict[str, float]] = field(default_factory=dict)
    sets: dict[str, set[str]] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    streams: dict[str, list[tuple[str, dict[str, str]]]] = field(default_factory=dict)

    def of(self, kind: dict[str, Any], family: str) -> dict[str, Any]:
        """The keys of a family: `of(hashes, "env")` is every record by its id."""
        return {key.removeprefix(f"{family}:"): value for key, value in kind.items() if key.startswith(f"{family}:")}

    @property
    def environments(self) -> dict[str, dict[str, str]]:
        return self.of(self.hashes, "env")

    @property
    def hosts(self) -> dict[str, dict[str, str]]:
        return self.of(self.hashes, "host")

    @property
    def allocations(self) -> dict[str, dict[str, Allocation]]:
        """By host and id."""
        return {
            name: {env_id: Allocation.of(text) for env_id, text in allocs.items()}
            for name, allocs in self.of(self.hashes, "allocs").items()
        }

    def all_keys(self) -> set[str]:
        return {
            *self.strings, *self.hashes, *self.zsets, *self.sets, *self.lists, *self.streams,
        }  # fmt: skip


@dataclass(frozen=True)
class Allocation:
    token: int
    cpu: int
    ram: int
    storage: int
    gpus: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Allocation:
        token, cpu, ram, storage, gpus = text.split("|")
        return cls(int(token), int(cpu), int(ram), int(storage), tuple(filter(None, gpus.split(","))))


@dataclass(frozen=True)
class Shape:
    cpu: int
    ram: int
    storage: int
    gpus: int
    gpu_mib: int
    model: str
    system: str

    @classmethod
    def of(cls, text: str) -> Shape:
        *numbers, model, system = [*text.split(":"), ""][:7]
        return cls(*map(int, numbers), model, system)

    def suits(self, gpu: str) -> bool:
        """Whether a GPU, as a host's field `gpus` writes it, is what is asked for."""
        _, mib, _, _, model = gpu.split("|", 4)
        word = rf"(?<![a-z0-9]){re.escape(self.model.lower())}(?![a-z0-9])" if self.model else ""
        return int(mib) >= self.gpu_mib and re.search(word, model.lower()) is not None


def snapshot(client: redis.Redis, prefix: str, *, history: bool = False) -> Snapshot:
    """Everything under a prefix at one moment; of each history the last event, or all of it."""
    found = Snapshot()
    for key, kind, value in client.eval(_SNAPSHOT, 0, prefix, "1" if history else "0"):
        name = key.removeprefix(f"{prefix}:")
        match kind:
            case "string":
                found.strings[name] = value
            case "hash":
                found.hashes[name] = _pairs(value)
            case "zset":
                found.zsets[name] = {member: float(score) for member, score in _pairs(value).items()}
            case "set":
                found.sets[name] = set(value)
            case "list":
                found.lists[name] = value
            case _:
                found.streams[name] = [(entry, _pairs(flat)) for entry, flat in value]
    return found


def problems(state: Snapshot) -> list[str]:
    """What of the ledger's promises does not hold; nothing where all is well."""
    return [f"{check.__name__.replace('_', ' ')}: {problem}" for check in CHECKS for problem in check(state)]


def check(client: redis.Redis, prefix: str, *, history: bool = False) -> Snapshot:
    """A snapshot that keeps every promise; AssertionError with all that it does not."""
    state = snapshot(client, prefix, history=history)
    found = problems(state)
    assert not found, "\n" + "\n".join(found)
    return state


def fitting(state: Snapshot, name: str) -> list[str]:
    """Shapes that wait and fit a host, and ids of those that wait for it alone and fit."""
    host = state.hosts[name]
    shapes = {text: Shape.of(text) for text in state.of(state.zsets, "queue")}
    found = [text for text, shape in shapes.items() if _fits(host, shape, shape.storage) and makes(host, shape)]
    pinned = {i: Shape.of(state.environments[i]["shape"]) for i in state.zsets.get(f"pinned:{name}", {})}
    return found + [env_id for env_id, shape in pinned.items() if _fits(host, shape, 0)]


def makes(host: dict[str, str], shape: Shape) -> bool:
    """Whether a host offers the system of a shape, by its inventory; one that offers nothing takes all."""
    offers = json.loads(host["inventory"]).get("offers")
    if not offers or not shape.system:
        return True
    *system, wanted = shape.system.split(" ")
    return any(
        f"{wanted}.".startswith(f"{version}.")
        for offer in offers
        if [offer["os"], offer["version"], offer["language"]] == system
        for version in offer["language_versions"]
    )


def every_gpu_is_in_one_allocation_at_most(state: Snapshot) -> Iterator[str]:
    holders = defaultdict(list)
    for name, allocs in state.allocations.items():
        for env_id, alloc in allocs.items():
            for uuid in alloc.gpus:
                holders[uuid].append(env_id)
                if state.hashes.get("gpus", {}).get(uuid) != name:
                    yield f"{uuid} is allocated on {name}, but belongs to {state.hashes.get('gpus', {}).get(uuid)}"
    for uuid, ids in holders.items():
        if len(ids) > 1:
            yield f"{uuid} is in {ids}"


def free_and_allocations_are_the_inventory(state: Snapshot) -> Iterator[str]:
    for name, host in state.hosts.items():
        inventory, allocs = json.loads(host["inventory"]), state.allocations.get(name, {}).values()
        storage = inventory["storage_mib"] if inventory["storage_limit"] else 0
        left = [
            inventory["cpu_milli"] - sum(alloc.cpu for alloc in allocs),
            inventory["ram_mib"] - sum(alloc.ram for alloc in allocs),
            storage - sum(alloc.storage for alloc in allocs),
        ]
        listed = [gpu["uuid"] for gpu in inventory["gpus"]]
        held = {uuid for alloc in allocs for uuid in alloc.gpus}
        over = min(left) < 0 or not held <= set(listed)
        free = [int(host[f"free_{what}"]) for what in ("cpu", "ram", "storage")]
        if min(free) < 0 or free != [max(amount, 0) for amount in left]:
            yield f"{name} has {left} left and says {free}"
        if over != (host["over"] == "1"):
            yield f"{name} is overcommitted: {over}, and says {host['over']}"
        given = _entries(host["gpus"])
        if _entries(host["free"]) != [gpu for gpu in given if _uuid(gpu) not in held]:
            yield f"{name} says that {host['free']} is free of {host['gpus']}, and {held} are held"
        if int(host["free_gpus"]) != len(_entries(host["free"])):
            yield f"{name} counts {host['free_gpus']} free GPUs of {host['free']}"
        well = {gpu["uuid"] for gpu in inventory["gpus"] if gpu["healthy"]}
        if not {_uuid(gpu) for gpu in given} <= well:
            yield f"{name} gives GPUs that are sick or not there: {given}"
        if host["listed"] != ",".join(listed):
            yield f"{name} lists {host['listed']}, and has {listed}"
        if host["open"] != str(int(host["state"] == "ready" and host["drain"] != "1" and not over)):
            yield f"{name} says open {host['open']}: {host}"


def every_environment_is_in_one_place(state: Snapshot) -> Iterator[str]:
    places = defaultdict(list)
    for family, kind in (("queue", "waits"), ("pinned", "waits"), ("parked", "parked")):
        for of, members in state.of(state.zsets, family).items():
            for member in members:
                places[member.split(" ")[0]].append((kind, family, of))
    for name, allocs in state.allocations.items():
        for env_id in allocs:
            places[env_id].append(("allocated", "allocs", name))
    for env_id in state.zsets.get("ended", {}):
        places[env_id].append(("ended", "ended", ""))
    for env_id in places.keys() - state.environments.keys():
        yield f"{env_id} has no record and is in {places[env_id]}"
    for env_id, env in state.environments.items():
        if sorted(places[env_id]) != sorted(_places(env)):
            yield f"{env_id} is {env['state']} on {env['host']!r} and in {places[env_id]}, not {_places(env)}"


def _places(env: dict[str, str]) -> list[tuple[str, str, str]]:
    kept = [("allocated", "allocs", env["pin"])] if env["pin"] else []
    match env["state"]:
        case "queued" if env["parked"] == "1":
            return [("parked", "parked", env["owner"]), *kept]
        case "queued" if env["pin"]:
            return [("waits", "pinned", env["pin"]), *kept]
        case "queued":
            return [("waits", "queue", env["shape"])]
        case "failed" | "deleted":
            return [("ended", "ended", "")]
    return [("allocated", "allocs", env["host"])]


def allocations_and_records_agree(state: Snapshot) -> Iterator[str]:
    for name, allocs in state.allocations.items():
        for env_id, alloc in allocs.items():
            env = state.environments.get(env_id)
            if env is None:
                continue
            shape, gpus = Shape.of(env["shape"]), tuple(filter(None, env["gpus"].split(",")))
            whole = (shape.cpu, shape.ram, shape.storage, shape.gpus)
            allowed = {(0, 0, shape.storage, 0)} if env["state"] not in WORKING else {whole}
            if env["state"] == "deleting":
                allowed.add(whole)
            if (alloc.cpu, alloc.ram, alloc.storage, len(alloc.gpus)) not in allowed:
                yield f"{env_id} is {env['state']}, needs {env['shape']} and has {alloc}"
            if (alloc.token, alloc.gpus, name) != (int(env["token"]), gpus, env["host"]):
                yield f"{env_id} has {env['token']}, {gpus} on {env['host']}, and {alloc} on {name}"


def what_ended_holds_nothing(state: Snapshot) -> Iterator[str]:
    for env_id, env in state.environments.items():
        left = {name for name in ("gpus", "pin", "expires", "parked", "reserved") if env[name]}
        if env["state"] in ("failed", "deleted") and (left or env["token"] != "0"):
            yield f"{env_id} is {env['state']} and has {left} and token {env['token']}"


def owners_hold_what_their_allocations_say(state: Snapshot) -> Iterator[str]:
    used: dict[str, list[int]] = defaultdict(lambda: [0] * 5)
    for allocs in state.allocations.values():
        for env_id, alloc in allocs.items():
            owner = state.environments.get(env_id, {}).get("owner", "nobody")
            for i, amount in enumerate((1, alloc.cpu, alloc.ram, len(alloc.gpus), alloc.storage)):
                used[owner][i] += amount
    stored = {
        key[2:]: [int(part) for part in text.split("|")]
        for key, text in state.hashes.get("ledger", {}).items()
        if key.startswith("u:")
    }
    if used != stored:
        yield f"allocations say {dict(used)}, the ledger {stored}"


def queues_are_in_order(state: Snapshot) -> Iterator[str]:
    heads = {shape: min(queue.values()) for shape, queue in state.of(state.zsets, "queue").items()}
    if heads != state.zsets.get("shapes", {}):
        yield f"the heads are {heads}, the shapes {state.zsets.get('shapes', {})}"
    for family in ("queue", "pinned", "parked"):
        for of, members in state.of(state.zsets, family).items():
            for member, score in members.items():
                env = state.environments.get(member.split(" ")[0])
                if env and float(env["score"]) != score:
                    yield f"{member} has score {env['score']} and {score} in {family}:{of}"
                if env and not (9 - int(env["priority"])) * 2**49 <= score < (10 - int(env["priority"])) * 2**49:
                    yield f"{member} has score {score}, outside of its priority {env['priority']}"
    for name in state.of(state.zsets, "pinned"):
        if state.hosts.get(name, {}).get("pinned") != "1":
            yield f"somebody waits for {name}, which does not know"
    for owner, members in state.of(state.zsets, "parked").items():
        if owner not in state.hashes.get("parked", {}):
            yield f"{owner} has {members} parked, and is not noted"
    for owner in state.hashes.get("parked", {}):
        if f"parked:{owner}" not in state.zsets:
            yield f"{owner} is noted as having something parked"


def reservations_agree(state: Snapshot) -> Iterator[str]:
    by_record = {env_id: env["reserved"] for env_id, env in state.environments.items() if env["reserved"]}
    by_host = sorted((host["reserved"], name) for name, host in state.hosts.items() if host["reserved"])
    index = state.hashes.get("reserved", {})
    if not sorted(by_record.items()) == by_host == sorted(index.items()):
        yield f"records say {by_record}, hosts {by_host}, the index {index}"
    for env_id, name in by_record.items():
        env = state.environments[env_id]
        if env["state"] != "queued" or env["parked"] == "1" or state.hosts.get(name, {}).get("open") != "1":
            yield f"{name} drains for {env_id}, in vain"


def indexes_of_hosts_agree(state: Snapshot) -> Iterator[str]:
    rooms: dict[str, dict[str, float]] = defaultdict(dict)
    most: dict[str, dict[str, float]] = defaultdict(dict)
    for name, host in state.hosts.items():
        inventory = json.loads(host["inventory"])
        most["cpu"][name], most["ram"][name] = inventory["cpu_milli"], inventory["ram_mib"]
        most["storage"][name] = inventory["storage_mib"] if inventory["storage_limit"] else 0
        for gpu in (gpu for gpu in inventory["gpus"] if gpu["healthy"]):
            index = f"{gpu['memory_mib']}|{gpu['model']}"
            most[index][name] = most[index].get(name, 0) + 1
        if host["open"] == "1":
            spare = int(host["free_cpu"]) - int(host["free_gpus"]) * int(host["gpu_cpu"])
            rooms["gpu" if int(host["free_gpus"]) else "cpu"][name] = spare
            for gpu in _entries(host["free"]):
                _, mib, _, _, model = gpu.split("|", 4)
                rooms[f"{mib}|{model}"][name] = rooms[f"{mib}|{model}"].get(name, 0) + 1
    for family, expected in (("room", rooms), ("most", most)):
        if dict(expected) != state.of(state.zsets, family):
            yield f"{family} is {state.of(state.zsets, family)}, not {dict(expected)}"
    if (classes := set(most) - {"cpu", "ram", "storage"}) != state.sets.get("classes", set()):
        yield f"classes are {state.sets.get('classes')}, not {classes}"


def hosts_are_known_by_their_leases(state: Snapshot) -> Iterator[str]:
    leases = state.zsets.get("hosts", {})
    if leases.keys() != state.hosts.keys():
        yield f"leases are {leases}, records {list(state.hosts)}"
    for name, host in state.hosts.items():
        if leases.get(name, 0) == 0 or (leases[name] < 0) != (host["state"] == "lost"):
            yield f"{name} is {host['state']} and its lease ends at {leases.get(name)}"


def gpus_belong_to_hosts_that_are_known(state: Snapshot) -> Iterator[str]:
    belongs = state.hashes.get("gpus", {})
    for name, host in state.hosts.items():
        for gpu in _entries(host["gpus"]):
            if belongs.get(_uuid(gpu)) != name and host["state"] != "lost":
                yield f"{name} gives {gpu}, which belongs to {belongs.get(_uuid(gpu))}"
    for uuid, name in belongs.items():
        if name not in state.hosts:
            yield f"{uuid} belongs to {name}, which is not known"


def indexes_of_environments_agree(state: Snapshot) -> Iterator[str]:
    ids = set(state.environments)
    owners = defaultdict(set)
    for env_id, env in state.environments.items():
        owners[env["owner"]].add(env_id)
    if state.zsets.get("envs", {}).keys() != ids:
        yield f"envs are {state.zsets.get('envs', {}).keys() ^ ids} off"
    if {owner: set(members) for owner, members in state.of(state.zsets, "envs").items()} != owners:
        yield f"envs by owner are {state.of(state.zsets, 'envs')}, not {dict(owners)}"
    if set(state.of(state.strings, "contract")) != ids or set(state.of(state.streams, "events")) != ids:
        yield "contracts or histories without a record, or records without them"
    running = {i: float(env["expires"]) for i, env in state.environments.items() if env["expires"]}
    if running != state.zsets.get("lifetimes", {}):
        yield f"lifetimes are {state.zsets.get('lifetimes', {})}, not {running}"
    for env_id, env in state.environments.items():
        if (env["expires"] != "") != (env["state"] == "running" and env["lifetime"] != "0"):
            yield f"{env_id} is {env['state']}, lives {env['lifetime']} and ends {env['expires']!r}"


def histories_are_legal(state: Snapshot) -> Iterator[str]:
    for env_id, events in state.of(state.streams, "events").items():
        env = state.environments.get(env_id)
        if env is None:
            continue
        entry, last = events[-1]
        told = {"s": "state", "p": "progress", "ph": "phase", "m": "message", "r": "reason", "h": "host"}
        if env["event"] != entry or any(last[short] != env[name] for short, name in told.items()):
            yield f"{env_id} ended its history with {entry} {last}, and is {env}"
        states = [State(fields["s"]) for _, fields in events]
        for before, after in pairwise(states):
            if before != after and after not in TRANSITIONS[before]:
                yield f"{env_id} went from {before} to {after}"


def tokens_are_below_the_last(state: Snapshot) -> Iterator[str]:
    last = int(state.hashes.get("ledger", {}).get("token", 0))
    given = [int(env["token"]) for env in state.environments.values()]
    given += [int(host["epoch"]) for host in state.hosts.values()]
    if given and max(given) > last:
        yield f"{max(given)} was given, and the last is {last}"
    twice = [token for token, count in Counter(given).items() if count > 1 and token]
    if twice:
        yield f"{twice} were given twice"


def a_remembered_miss_hides_nothing(state: Snapshot) -> Iterator[str]:
    queued = state.strings.get("queued", "0")
    for name, note in state.of(state.strings, "missed").items():
        host = state.hosts.get(name)
        if host and note == f"{host['epoch']} {queued}" and host["open"] == "1" and (found := fitting(state, name)):
            yield f"{name} would not look, and has room for {found}"


def no_key_is_left_over(state: Snapshot) -> Iterator[str]:
    hosts, ids = set(state.hosts), set(state.environments)
    known: dict[str, Callable[[str], bool]] = {
        "env": ids.__contains__, "events": ids.__contains__, "contract": ids.__contains__, "host": hosts.__contains__,
        "allocs": hosts.__contains__, "wake": hosts.__contains__, "missed": hosts.__contains__,
        "pinned": hosts.__contains__, "queue": lambda _: True, "envs": lambda _: True, "parked": lambda _: True,
        "request": lambda of: state.strings[f"request:{of}"].split(" ")[0] in ids,
        "room": lambda _: True, "most": lambda _: True, "celery": lambda of: of.removeprefix("host.") in hosts,
    }  # fmt: skip
    alone = {
        "envs", "ended", "lifetimes", "shapes", "parked", "queued", "ledger", "config", "hosts", "gpus", "reserved",
        "classes", "swept",
    }  # fmt: skip
    for key in state.all_keys():
        family, _, of = key.partition(":")
        if not (key in alone or (of and family in known and known[family](of))):
            yield key
    for name, elements in state.of(state.lists, "wake").items():
        if len(elements) > 1:
            yield f"{name} is woken {len(elements)} times"


CHECKS: list[Callable[[Snapshot], Iterator[str]]] = [
    every_gpu_is_in_one_allocation_at_most,
    free_and_allocations_are_the_inventory,
    every_environment_is_in_one_place,
    allocations_and_records_agree,
    what_ended_holds_nothing,
    owners_hold_what_their_allocations_say,
    queues_are_in_order,
    reservations_agree,
    indexes_of_hosts_agree,
    hosts_are_known_by_their_leases,
    gpus_belong_to_hosts_that_are_known,
    indexes_of_environments_agree,
    histories_are_legal,
    tokens_are_below_the_last,
    a_remembered_miss_hides_nothing,
    no_key_is_left_over,
]


def _fits(host: dict[str, str], shape: Shape, storage: int) -> bool:
    return (
        int(host["free_cpu"]) >= shape.cpu
        and int(host["free_ram"]) >= shape.ram
        and int(host["free_storage"]) >= storage
        and sum(shape.suits(gpu) for gpu in _entries(host["free"])) >= shape.gpus
    )


def _entries(text: str) -> list[str]:
    return [entry for entry in text.split(";") if entry]


def _uuid(entry: str) -> str:
    return entry.partition("|")[0]


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
