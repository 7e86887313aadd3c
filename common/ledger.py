"""The ledger's only caller: one method a function of `ledger.lua`, with errors of our own tree.

Every call is safe to repeat. The functions know a repeated request by its id, because redis-py sends
a command again by itself when the reply was lost.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from common.contract import Contract, Resources
from common.environment import Environment, Event, Job
from common.errors import (
    Conflict,
    DCloudError,
    Fenced,
    HostTaken,
    IllegalTransition,
    LedgerError,
    NeverFits,
    NotFound,
    RedisUnavailable,
    StaleToken,
)
from common.inventory import Gpu, Host, Inventory
from common.keys import Keys
from common.settings import Settings
from common.states import Phase, Reason, State

_ERRORS: dict[str, type[DCloudError]] = {
    "NOTFOUND": NotFound,
    "ILLEGAL": IllegalTransition,
    "STALE": StaleToken,
    "FENCED": Fenced,
    "TAKEN": HostTaken,
    "CONFLICT": Conflict,
    "BADARG": LedgerError,
    "NEVER": NeverFits,
}


@dataclass(frozen=True)
class Quota:
    """What an owner's environments may hold together; None is no limit."""

    environments: int | None = None
    cpu_milli: int | None = None
    ram_mib: int | None = None
    gpus: int | None = None
    storage_mib: int | None = None

    def text(self) -> str:
        """As the ledger writes it."""
        return "|".join("" if amount is None else str(amount) for amount in astuple(self))

    @classmethod
    def of(cls, text: str) -> Quota:
        """The quota that `text` wrote."""
        return cls(*(int(part) if part else None for part in text.split("|"))) if text else cls()


@dataclass(frozen=True)
class Difference:
    """Where a host's containers and its allocations disagree; ids of environments."""

    orphans: tuple[str, ...]  # containers without an allocation here
    missing: tuple[str, ...]  # environments that should run, without a running container
    making: tuple[str, ...]  # environments that some thread of the host should be working on


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except redis.ResponseError as error:
        word, _, text = str(error).partition(" ")
        kind = _ERRORS.get(word)
        if kind is not None:
            raise kind(text) from None
        raise RedisUnavailable(f"Redis refuses to work: {error}") from error
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise RedisUnavailable(f"Redis does not answer: {error}") from error


class Ledger:
    """The allocations, the free capacities and the queue, in one Redis."""

    def __init__(self, client: redis.Redis, prefix: str):
        """`client` must decode responses. Use `connect` outside of tests."""
        self.redis = client
        self.keys = Keys(prefix)
        self.library, self._code = _library()

    @classmethod
    def connect(cls, settings: Settings) -> Ledger:
        """A ledger whose Redis was checked and has the functions. Raises RedisUnavailable."""
        ledger = cls(client_of(settings.redis_url), settings.key_prefix)
        ledger.check()
        ledger.load()
        return ledger

    def check(self) -> None:
        """Raises RedisUnavailable where this Redis cannot keep the ledger's promises."""
        with _translated():
            info = self.redis.info()
        version = str(info.get("valkey_version") or info["redis_version"])
        if int(version.partition(".")[0]) < 7:
            raise RedisUnavailable(f"Redis {version} has no functions. Use Redis 7.0 or later, or Valkey 8 or later.")
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise RedisUnavailable(
                f"Redis drops keys when its memory is full (maxmemory-policy {policy}). Set it to noeviction."
            )
        if info.get("role") != "master":
            raise RedisUnavailable("This Redis is a read-only replica. Point DCLOUD_REDIS_URL at its primary.")

    def load(self) -> None:
        """Load the functions of this version beside those of others."""
        with _translated():
            self.redis.function_load(self._code, replace=True)

    # for clients

    def submit(self, env_id: str, owner: str, contract: Contract, request: str = "", digest: str = "") -> Environment:
        """Accept an environment. `request` is its owner's idempotency key ("" is none), `digest` a hash of the body.

        The same key and digest give the first environment again; raises Conflict for another digest, and
        NeverFits for what no host could hold even if it were empty, unless the contract says to wait.
        """
        wanted = contract.resources
        known = self._call(
            "submit", env_id, owner, contract.name or env_id, json.dumps(contract.to_dict(), separators=(",", ":")),
            shape(wanted), contract.priority, cost(wanted), contract.lifetime_seconds * 1000, request, digest,
            "1" if contract.wait else "0",
        )  # fmt: skip
        return self.get(cast(str, known))

    def get(self, env_id: str) -> Environment:
        """Raises NotFound."""
        with _translated():
            record = cast(dict[str, str], self.redis.hgetall(self.keys.environment(env_id)))
        if not record:
            raise NotFound(f"There is no environment {env_id}.")
        position = self._call("position", env_id, read=True) if record["state"] == State.QUEUED else 0
        return _environment(env_id, record, cast(int, position))

    def environments(
        self, owner: str | None = None, states: Collection[State] = (), limit: int = 50, cursor: str = ""
    ) -> tuple[list[Environment], str]:
        """A page, newest first, and the cursor of the next one ("" at the end). `owner` None is everyone's."""
        found: list[Environment] = []
        index, upper = self.keys.environments(owner), f"({cursor}" if cursor else "+"
        while True:
            with _translated():
                ids = cast(list[str], self.redis.zrevrangebylex(index, upper, "-", start=0, num=limit + 1))
                pipe = self.redis.pipeline(transaction=False)
                for env_id in ids:
                    pipe.hgetall(self.keys.environment(env_id))
                records = pipe.execute()
            for env_id, record in zip(ids, records, strict=True):
                if not record or (states and record["state"] not in states):
                    continue
                if len(found) == limit:
                    return found, found[-1].id
                found.append(_environment(env_id, record, 0))
            if len(ids) <= limit:
                return found, ""
            upper = f"({ids[-1]}"

    def delete(self, env_id: str) -> Environment:
        """Remove an environment, wherever it is in its life. Raises NotFound."""
        self._call("delete", env_id)
        return self.get(env_id)

    def stop(self, env_id: str, reason: Reason = Reason.USER_REQUEST) -> Environment:
        """Stop a running environment. Raises NotFound, IllegalTransition."""
        self._call("stop", env_id, reason)
        return self.get(env_id)

    def start(self, env_id: str) -> Environment:
        """Start a stopped environment on the host that has its storage. Raises NotFound, IllegalTransition."""
        self._call("start", env_id)
        return self.get(env_id)

    def explain(self, env_id: str) -> dict[str, Any]:
        """Why an environment waits and until when: `verdict` now, wait or never; `position`; `parked`, the quotas
        it is over; `estimate` in ms since the epoch; per host what is short, who holds it, `free_at`. Raises NotFound.
        """
        return cast(dict[str, Any], json.loads(self._call("explain", env_id, "", "", read=True)))

    def judge(self, owner: str, wanted: Resources) -> dict[str, Any]:
        """`explain` for a need that nobody submitted yet."""
        return cast(dict[str, Any], json.loads(self._call("explain", "", shape(wanted), owner, read=True)))

    def set_quota(self, owner: str, quota: Quota | None) -> None:
        """Limit what an owner's environments hold together; owner "*" is everyone without a quota of their own."""
        self._call("set_quota", owner, quota.text() if quota else "")

    def quota(self, owner: str) -> tuple[Quota, Quota]:
        """An owner's limits and what of them is used."""
        with _translated():
            fields = [f"q:{owner}", "q:*", f"u:{owner}"]
            own, default, used = cast(list[str | None], self.redis.hmget(f"{self.keys.prefix}:owners", fields))
        return Quota.of(own or default or ""), Quota.of(used or "0|0|0|0|0")

    def events(self, env_id: str, after: str = "0", limit: int = 1000) -> list[Event]:
        """The history after the event `after`, oldest first."""
        with _translated():
            entries = self.redis.xrange(self.keys.events(env_id), f"({after}" if after != "0" else "-", "+", limit)
        return [event_of(entry_id, fields) for entry_id, fields in cast(list[tuple[str, dict[str, str]]], entries)]

    def hosts(self) -> list[Host]:
        """Every host that ever registered, by name."""
        with _translated():
            names = sorted(cast(Iterable[str], self.redis.zrange(self.keys.hosts(), 0, -1)))
            seconds, micros = self.redis.time()
            pipe = self.redis.pipeline()
            for name in names:
                pipe.hgetall(self.keys.host(name))
                pipe.hkeys(self.keys.allocations(name))
                pipe.hkeys(f"{self.keys.prefix}:taken:{name}")
            replies = iter(pipe.execute())
        now = seconds + micros / 1e6
        return [_host(name, next(replies), next(replies), next(replies), now) for name in names]

    # for hosts

    def register(self, name: str, instance: str, lease_seconds: float, inventory: Inventory) -> str:
        """Take the host name for this worker process and get its epoch. Raises HostTaken.

        What an earlier process of this host was making goes back to the queue.
        """
        text = json.dumps(asdict(inventory), separators=(",", ":"))
        epoch = self._call("register", name, inventory.machine, instance, int(lease_seconds * 1000), text)
        return cast(str, epoch)

    def heartbeat(self, name: str, epoch: str) -> str:
        """ "ready" or "draining". Raises Fenced, NotFound."""
        return cast(str, self._call("heartbeat", name, epoch))

    def drain(self, name: str, draining: bool) -> None:
        """Let a host take nothing new, or let it again. Raises NotFound."""
        self._call("drain", name, "1" if draining else "0")

    def forget(self, name: str) -> None:
        """Remove a host that is lost and holds nothing. Raises NotFound, IllegalTransition."""
        self._call("forget", name)

    def claim(self, name: str, epoch: str) -> Job | None:
        """Take the first waiting environment that fits this host, or None. Raises Fenced."""
        reply = cast(list[str] | None, self._call("claim", name, epoch, new_request()))
        return _job(reply) if reply else None

    def job(self, env_id: str) -> Job:
        """The job of an environment as its record has it. Raises NotFound."""
        with _translated():
            record = cast(dict[str, str], self.redis.hgetall(self.keys.environment(env_id)))
        if not record:
            raise NotFound(f"There is no environment {env_id}.")
        fields = ("name", "owner", "token", "attempt", "contract", "gpus", "pin")
        return _job([env_id, *(record[field] for field in fields)])

    def advance(
        self,
        name: str,
        epoch: str,
        job: Job,
        state: State,
        *,
        progress: int,
        message: str,
        reason: str = "",
        request: str = "",
    ) -> None:
        """Move an allocation's environment to `state`. Raises StaleToken, IllegalTransition, Fenced.

        A caller that repeats the call itself passes the same `request` each time.
        """
        request = request or new_request()
        self._call("advance", name, epoch, job.id, job.token, state, "", progress, message, reason, request)

    def progress(self, name: str, epoch: str, job: Job, phase: Phase, progress: int, message: str) -> None:
        """Tell how far the making is; never goes back. Raises StaleToken, IllegalTransition, Fenced."""
        self._call("progress", name, epoch, job.id, job.token, phase, progress, message)

    def release(
        self,
        name: str,
        epoch: str,
        env_id: str,
        token: int,
        state: State,
        *,
        reason: str,
        message: str,
        request: str = "",
    ) -> None:
        """Give an allocation back, once: FAILED and DELETED give all, STOPPED all but the storage.

        Raises StaleToken, IllegalTransition, Fenced. A caller that repeats the call passes the same `request`.
        """
        self._call("release", name, epoch, env_id, token, state, reason, message, request or new_request())

    def todo(self, name: str, epoch: str) -> list[tuple[str, State, int]]:
        """(id, state, token) of all that the host must act on. Raises Fenced."""
        flat = cast(list[str], self._call("todo", name, epoch, read=True))
        groups = zip(*[iter(flat)] * 3, strict=True)
        return [(env_id, State(state), int(token)) for env_id, state, token in groups if state]

    def give_back(self, name: str, epoch: str, env_id: str, token: int, reason: Reason) -> None:
        """Put back into the queue what this host cannot go on making. Raises StaleToken, IllegalTransition, Fenced."""
        self._call("give_back", name, epoch, env_id, token, reason)

    def reconcile(self, name: str, epoch: str, found: dict[str, int]) -> Difference:
        """Running containers found on the host (id → token) against its allocations; recomputes what is free."""
        flat = [part for env_id, token in found.items() for part in (env_id, token)]
        answer = json.loads(cast(str, self._call("reconcile", name, epoch, *flat)))
        return Difference(**{key: tuple(ids) for key, ids in answer.items()})

    def expire(self, limit: int = 1000, interval_seconds: float = 0) -> int:
        """End leases, lifetimes and old records whose time is over, and let hosts drain for who waited too long.

        How many things it did; nothing where somebody did it less than `interval_seconds` ago.
        """
        return cast(int, self._call("expire", limit, int(interval_seconds * 1000)))

    def _call(self, function: str, *args: Any, read: bool = False) -> Any:
        call: Callable[..., Any] = self.redis.fcall_ro if read else self.redis.fcall
        name = f"{self.library}_{function}"
        with _translated():
            try:
                return call(name, 1, self.keys.prefix, *args)
            except redis.ResponseError as error:
                if "Function not found" not in str(error):
                    raise
            self.load()  # a Redis that was restored from before this version
            return call(name, 1, self.keys.prefix, *args)


def client_of(url: str, *, decode: bool = True, timeout_seconds: float = 5.0) -> redis.Redis:
    """A Redis client with a deadline on every command. Blocking commands need one with a longer timeout."""
    return redis.Redis.from_url(
        url,
        decode_responses=decode,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=2.0,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        health_check_interval=0,
    )


def shape(wanted: Resources) -> str:
    """The shape of a need, as the ledger writes it."""
    gpus = wanted.gpus
    return f"{wanted.cpu_milli}:{wanted.ram_mib}:{wanted.storage_mib}:{gpus.count}:{gpus.memory_mib}:{gpus.model}"


def cost(wanted: Resources) -> int:
    """What a need adds to its owner's virtual time: milli cores, 4 GiB of RAM as one core, a GPU as 16."""
    return max(wanted.cpu_milli, wanted.ram_mib * 1000 // 4096, 100) + 16_000 * wanted.gpus.count


def event_of(entry_id: str, fields: dict[str, str]) -> Event:
    """The event in a stream entry; its time is in its id."""
    return Event(
        id=entry_id, at=int(entry_id.partition("-")[0]) / 1000, state=State(fields["s"]), progress=int(fields["p"]),
        phase=fields["ph"], message=fields["m"], reason=fields["r"], host=fields["h"],
    )  # fmt: skip


@cache
def _library() -> tuple[str, str]:
    text = Path(__file__).with_name("ledger.lua").read_text(encoding="utf-8")
    name = "dcloud_" + hashlib.sha256(text.encode()).hexdigest()[:12]
    return name, text.replace("@LIBRARY@", name)


def new_request() -> str:
    """An id under which the ledger knows a repeated call."""
    return secrets.token_hex(8)


def _environment(env_id: str, r: dict[str, str], position: int) -> Environment:
    return Environment(
        id=env_id, name=r["name"], owner=r["owner"], state=State(r["state"]),
        contract=Contract.from_dict(json.loads(r["contract"])), progress=int(r["progress"]), phase=r["phase"],
        message=r["message"], reason=r["reason"], host=r["host"], gpus=_gpus(r["gpus"]), token=int(r["token"]),
        attempt=int(r["attempt"]), position=position or None, revision=int(r["rev"]),
        created_at=int(r["created"]) / 1000,
        updated_at=int(r["updated"]) / 1000, started_at=_time(r["started"]), expires_at=_time(r["expires"]),
    )  # fmt: skip


def _job(reply: list[str]) -> Job:
    env_id, name, owner, token, attempt, contract, gpus, pin = reply
    return Job(
        id=env_id, name=name, owner=owner, token=int(token), attempt=int(attempt),
        contract=Contract.from_dict(json.loads(contract)), gpus=_gpus(gpus), has_storage=pin != "",
    )  # fmt: skip


def _host(name: str, r: dict[str, str], environments: list[str], taken: list[str], now: float) -> Host:
    values = json.loads(r["inventory"])
    values["gpus"] = tuple(Gpu(**gpu) for gpu in values["gpus"])
    inventory = Inventory(**{**values, "notes": tuple(values["notes"])})
    return Host(
        name=name,
        state="draining" if r["state"] == "ready" and r["drain"] == "1" else r["state"],
        epoch=int(r["epoch"]),
        heartbeat_age_seconds=max(0.0, now - int(r["beat"]) / 1000),
        inventory=inventory,
        free_cpu_milli=int(r["free_cpu"]),
        free_ram_mib=int(r["free_ram"]),
        free_storage_mib=int(r["free_storage"]),
        free_gpus=tuple(gpu.uuid for gpu in inventory.gpus if gpu.healthy and gpu.uuid not in taken),
        overcommitted=r["over"] == "1",
        environments=tuple(sorted(environments)),
    )


def _gpus(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _time(text: str) -> float | None:
    return int(text) / 1000 if text else None
