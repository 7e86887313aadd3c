"""How well the ledger uses a lab: a trace through the real functions, an hour of it in two seconds.

The ledger's times (a head that starves, a host that leaves something to a better one) are scaled alike; it is driven as
hosts drive it, by wakes and sweeps. Rivals get the same trace.
"""

from __future__ import annotations

import heapq
import json
import time
from statistics import mean

from ledger_parts import PREFIX, wants

from bench import rivals
from bench.report import Report
from bench.rivals import Placed
from bench.trace import HOURS, SIZES, USERS, Want, day, lab
from common.inventory import Inventory
from common.ledger import Ledger, cost, shape
from common.states import State

SCALE = HOURS / 2.0  # seconds of the trace in one of ours
SWEEP_SECONDS = 60.0
WIDE = 4  # GPUs that a wide environment asks for


def run(report: Report, ledger: Ledger, quick: bool) -> None:
    """The three of them, figure by figure."""
    hours = 3.0 if quick else 24.0
    trace, hosts = day(hours), lab()
    found = {
        "ours": Driver(ledger, trace, hosts).placed(),
        "FIFO": rivals.fifo(trace, hosts),
        "requeue": rivals.requeue(trace, hosts),
    }
    for name, placed in found.items():
        told = {size: f"{worst / 60:.0f}" for size, worst in longest_waits(trace, placed).items()}
        waits = ", ".join(f"{size} {minutes}" for size, minutes in told.items())
        until = hours * HOURS
        use = 100 * gpu_use(trace, placed, hosts, until)
        report.add(f"{name}: GPUs in use", use, "%", f"{len(trace)} environments in {hours:.0f} h")
        report.add(
            f"{name}: free GPUs in scraps", 100 * scraps(trace, placed, hosts, until), "%",
            f"of the free GPUs those on hosts with fewer than {WIDE} free",
        )  # fmt: skip
        worst = max(longest_waits(trace, placed).values())
        report.add(f"{name}: longest wait", worst / 60, "min", f"by shape, in minutes: {waits}")
        report.add(f"{name}: mean wait", mean(_wait(w, placed) for w in trace) / 60, "min", "of all environments")
        report.add(f"{name}: Jain's index", jain(trace, placed), "", "between users, of run ÷ (wait + run)")


class Driver:
    """Hosts without an engine, that claim from the real ledger and end what they hold when its time is over."""

    def __init__(self, ledger: Ledger, trace: list[Want], hosts: dict[str, Inventory]):
        ledger.redis.flushall()
        ledger.load()
        ledger.configure(starve_seconds=600 / SCALE, defer_seconds=5 / SCALE)
        self.ledger, self.trace, self.began = ledger, trace, time.monotonic()
        self.epochs = {name: ledger.register(name, f"instance-{name}", 10**6, has) for name, has in hosts.items()}
        self.by_number = {want.number: want for want in trace}
        self.found: Placed = {}
        self.ends: list[tuple[float, str, str, int]] = []

    def placed(self) -> Placed:
        """Let the whole trace pass; when and where each one began."""
        arrivals, sweep = list(reversed(self.trace)), SWEEP_SECONDS
        self.began = time.monotonic()
        while len(self.found) < len(self.trace):
            following = min([sweep, *(want.arrives for want in arrivals[-1:]), *(end[0] for end in self.ends[:1])])
            time.sleep(max(0.0, self.began + following / SCALE - time.monotonic()))
            while arrivals and arrivals[-1].arrives <= self._now:
                self._submit(arrivals.pop())
            while self.ends and self.ends[0][0] <= self._now:
                self._end(*heapq.heappop(self.ends)[1:])
            if sweep <= self._now:
                self.ledger.expire()
                for name in self.epochs:
                    self._claim(name)
                sweep = self._now + SWEEP_SECONDS
            self._serve_the_woken()
        return self.found

    @property
    def _now(self) -> float:
        return (time.monotonic() - self.began) * SCALE

    def _submit(self, want: Want) -> None:
        asked = wants(cpu=str(want.cpu), ram=f"{want.ram_gib}GiB", gpu=str(want.gpus))
        text, lifetime_ms = json.dumps(asked.to_dict()), round(want.lifetime / SCALE * 1000)
        self.ledger.redis.fcall(  # not by `Ledger.submit`: a contract cannot say so short a lifetime
            f"{self.ledger.library}_submit", 1, PREFIX, str(want.number), want.user, "bench", text,
            shape(asked), asked.priority, cost(asked.resources), lifetime_ms, "", "", "0",
        )  # fmt: skip

    def _end(self, name: str, env_id: str, token: int) -> None:
        self.ledger.delete(env_id)
        self.ledger.release(name, self.epochs[name], env_id, token, State.DELETED, reason="", message="")

    def _serve_the_woken(self) -> None:
        woken = True
        while woken:
            woken = [name for name in self.epochs if self.ledger.redis.delete(self.ledger.keys.wake(name))]
            for name in woken:
                self._claim(name)

    def _claim(self, name: str) -> None:
        while job := self.ledger.claim(name, self.epochs[name]):
            for state in (State.BUILDING, State.STARTING, State.RUNNING):  # a lifetime begins when it runs
                self.ledger.advance(name, self.epochs[name], job, state, progress=50, message="")
            want, now = self.by_number[int(job.id)], self._now
            self.found[want.number] = (now, name)
            heapq.heappush(self.ends, (now + want.runs, name, job.id, job.token))


def longest_waits(trace: list[Want], placed: Placed) -> dict[str, float]:
    """Seconds, by size."""
    return {size: max((_wait(w, placed) for w in trace if w.size == size), default=0.0) for size in SIZES}


def jain(trace: list[Want], placed: Placed) -> float:
    """1 where every user's environments were slowed down alike, 1 ÷ users where one had it all."""
    speeds = [
        mean(w.runs / (w.runs + _wait(w, placed)) for w in trace if w.user == user)
        for user in USERS
        if any(w.user == user for w in trace)
    ]
    return sum(speeds) ** 2 / (len(speeds) * sum(speed**2 for speed in speeds))


def gpu_use(trace: list[Want], placed: Placed, hosts: dict[str, Inventory], until: float) -> float:
    """The share of all GPU time up to `until` in which GPUs were held."""
    held = 0.0
    for want in trace:
        began = placed[want.number][0]
        held += want.gpus * (min(began + want.runs, until) - min(began, until))
    return held / (until * sum(len(host.gpus) for host in hosts.values()))


def scraps(trace: list[Want], placed: Placed, hosts: dict[str, Inventory], until: float) -> float:
    """Of the free GPU time up to `until`, the share on hosts that could not serve a wide environment."""
    free = {name: len(host.gpus) for name, host in hosts.items()}
    changes = []
    for want in trace:
        began, name = placed[want.number]
        changes += [(began, -want.gpus, name), (began + want.runs, want.gpus, name)]
    all_free = in_scraps = before = 0.0
    for at, change, name in sorted(changes):
        lasted = min(at, until) - min(before, until)
        all_free += lasted * sum(free.values())
        in_scraps += lasted * sum(count for count in free.values() if count < WIDE)
        free[name], before = free[name] + change, at
    return in_scraps / all_free if all_free else 0.0


def _wait(want: Want, placed: Placed) -> float:
    return max(0.0, placed[want.number][0] - want.arrives)
