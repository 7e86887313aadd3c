"""A ledger with a crowd: hosts by the thousand and environments that wait by the million, and functions timed on it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from ledger_parts import PREFIX, inventory, wants

from bench.pairs import seconds
from common.contract import Contract
from common.inventory import Gpu
from common.ledger import Ledger, cost, new_request, shape

OWNERS = 100
SMALL_HOSTS = 50  # too small for anything that waits
A_BATCH = 2000  # commands in one pipeline
GPU_SHARES = (0, 1, 0, 2, 4)


def contracts(count: int) -> list[Contract]:
    """Needs of so many different shapes; two fifths ask for no GPU."""
    return [
        wants(
            wait=True, cpu=f"{500 * (1 + i % 16)}m", ram=f"{1024 + 64 * i}MiB", storage="10GiB",
            gpu=str(GPU_SHARES[i % len(GPU_SHARES)]),
        )
        for i in range(count)
    ]  # fmt: skip


class Crowd:
    """A ledger and what was put into it."""

    def __init__(self, ledger: Ledger, shapes: int):
        ledger.redis.flushall(asynchronous=True)
        ledger.load()
        self.ledger = ledger
        self.epochs: dict[str, str] = {}
        self._needs = [self._need(contract) for contract in contracts(shapes)]
        self._ids = itertools.count()

    @property
    def waiting(self) -> int:
        redis, total = self.ledger.redis, 0
        for text in redis.zrange(f"{PREFIX}:shapes", 0, -1):
            total += redis.zcard(f"{PREFIX}:queue:{text}")
        return total

    @property
    def large_hosts(self) -> list[str]:
        return [name for name in self.epochs if name.startswith("large")]

    @property
    def small_hosts(self) -> list[str]:
        return [name for name in self.epochs if name.startswith("small")]

    def grow_hosts(self, count: int) -> None:
        """Register hosts until there are so many: a few small ones, the rest with 64 cores and 8 linked GPUs."""
        calls, names = [], []
        for i in range(len(self.epochs), count):
            small = i < SMALL_HOSTS
            name = f"small-{i}" if small else f"large-{i}"
            gpus = () if small else tuple(Gpu(f"GPU-{i}-{n}", "NVIDIA H200", 143_771, island=n // 4) for n in range(8))
            has = inventory(gpus, 100 if small else 64_000, ram_mib=512_000, storage_mib=4_000_000)
            text = json.dumps(asdict(has), separators=(",", ":"))
            names.append(name)
            calls.append(("register", name, "machine", f"instance-{name}", 10**9, text))
        self.epochs |= dict(zip(names, self._in_pipelines(calls), strict=True))

    def grow_queue(self, count: int) -> None:
        """Submit until so many wait."""
        self.submit(count - self.waiting)

    def submit(self, count: int) -> None:
        """Submit so many, of all shapes and owners in turn."""
        self._in_pipelines(self._submission(number) for number in itertools.islice(self._ids, count))

    def call(self, function: str, *args: object) -> object:
        """One function of the ledger, as its client calls it."""
        return self.ledger.redis.fcall(f"{self.ledger.library}_{function}", 1, PREFIX, *args)

    def claims(self, hosts: Iterable[str]) -> list[list[str] | None]:
        """One claim for each of the hosts."""
        replies = (self.call("claim", name, self.epochs[name], new_request(), 1) for name in hosts)
        return [reply and reply[0] for reply in replies]

    def undo(self, hosts: Iterable[str], jobs: Iterable[list[str]]) -> None:
        """End what was claimed, and let as many wait again."""
        calls = []
        for name, job in zip(hosts, jobs, strict=True):
            calls.append(("delete", job[0]))
            calls.append(("release", name, self.epochs[name], job[0], job[3], "deleted", "", "", new_request()))
        self._in_pipelines(calls)
        self.submit(len(calls) // 2)

    def served_us(self) -> tuple[int, int]:
        """How many function calls the server has made, and the µs that it spent in them."""
        stats = self.ledger.redis.info("commandstats").get("cmdstat_fcall", {"calls": 0, "usec": 0})
        return stats["calls"], stats["usec"]

    def _need(self, contract: Contract) -> tuple[object, ...]:
        text = json.dumps(contract.to_dict(), separators=(",", ":"))
        return text, shape(contract), contract.priority, cost(contract.resources)

    def _submission(self, number: int) -> tuple[object, ...]:
        text, need, priority, price = self._needs[number % len(self._needs)]
        env_id = f"{number:016x}"
        return "submit", env_id, f"owner-{number % OWNERS}", "bench", text, need, priority, price, 0, "", "", "1"

    def _in_pipelines(self, calls: Iterable[tuple[object, ...]]) -> list[str]:
        answers: list[str] = []
        todo = iter(calls)
        while batch := list(itertools.islice(todo, A_BATCH)):
            pipe = self.ledger.redis.pipeline(transaction=False)
            for function, *args in batch:
                pipe.fcall(f"{self.ledger.library}_{function}", 1, PREFIX, *args)
            answers += pipe.execute()
        return answers


@dataclass(frozen=True)
class Took:
    """µs that a call took inside the server, and for its client."""

    server_us: float
    client_us: float


def timed(crowd: Crowd, act: Callable[[], object]) -> Took:
    """What each call of a function of the ledger took in `act`."""
    calls, spent = crowd.served_us()
    seconds_taken = seconds(act)
    calls_after, spent_after = crowd.served_us()
    made = calls_after - calls
    return Took((spent_after - spent) / made, seconds_taken * 1e6 / made)
