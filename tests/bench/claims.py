"""What a claim costs beside a function that does nothing, by the number of shapes, of those that wait, and of hosts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from bench.crowd import SMALL_HOSTS, Crowd, Took, timed
from bench.report import Report
from common.ledger import Ledger

NOOPS = 200
GOAL = (64, 1_000_000, 5000)  # shapes, waiting, hosts: where the design's targets are
REFERENCE = (64, 1_000, 100)


@dataclass(frozen=True)
class Cell:
    """Medians of one kind of call, µs, and the ratios of no-op to it, round by round."""

    call: Took
    noop: Took
    server_ratio: float
    client_ratio: float


def run(report: Report, ledger: Ledger, quick: bool) -> None:
    """Fill the whole grid; the targets are those of the goal."""
    found: dict[tuple[int, int, int, str], Cell] = {}
    goal = (64, 10_000, 1000) if quick else GOAL
    for shapes in (8, 64, 512):
        few, many = 100, 1000 if quick else 5000
        waiting = (1_000, 10_000) if quick else (1_000, 100_000)
        most = () if quick else (1_000_000,)
        for hosts, counts in ((many, waiting), (few, (*waiting, *most))):
            crowd = Crowd(ledger, shapes)
            crowd.grow_hosts(hosts)
            for count in counts:
                if (shapes, count) == goal[:2]:
                    _weigh(report, crowd, count)
                crowd.grow_queue(count)
                found |= _measured(report, crowd, (shapes, count, hosts), 5 if quick else 12)
        for count in most:  # still there: the hosts come to them
            crowd.grow_hosts(many)
            found |= _measured(report, crowd, (shapes, count, many), 12)
    _judge(report, found, goal)
    ledger.redis.flushall(asynchronous=True)


def _weigh(report: Report, crowd: Crowd, count: int) -> None:
    """Let so many wait, and see what memory that takes."""
    redis, waited = crowd.ledger.redis, crowd.waiting
    before = redis.info("memory")["used_memory"]
    crowd.grow_queue(count)
    taken = (redis.info("memory")["used_memory"] - before) / (count - waited)
    report.add(
        "a waiting environment", taken, "bytes",
        f"of Redis' memory: record, contract, history and indexes; from {waited:,} to {count:,} waiting",
    )  # fmt: skip


def _judge(report: Report, found: dict[tuple[int, int, int, str], Cell], goal: tuple[int, int, int]) -> None:
    where = "{} shapes, {:,} waiting, {:,} hosts".format(*goal)
    for kind in ("hit", "miss", "miss again"):
        cell, small = found[(*goal, kind)], found[(*REFERENCE, kind)]
        report.add(
            f"claim, {kind}: no-op ÷ claim, server", cell.server_ratio, "×", f"{where}; usec_per_call of commandstats",
            at_least=0.30,
        )  # fmt: skip
        report.add(f"claim, {kind}: no-op ÷ claim, client", cell.client_ratio, "×", f"{where}; one client, one by one")
        report.add(
            f"claim, {kind}: growth", small.server_ratio / cell.server_ratio, "×",
            f"{where} ÷ {REFERENCE[1]:,} waiting, {REFERENCE[2]} hosts; each in no-ops of the same moment",
            at_most=1.3,
        )  # fmt: skip


def _measured(
    report: Report, crowd: Crowd, size: tuple[int, int, int], rounds: int
) -> dict[tuple[int, int, int, str], Cell]:
    cells = {"hit": _hits(crowd, rounds), "miss": _misses(crowd, rounds), "miss again": _misses_again(crowd, rounds)}
    for kind, cell in cells.items():
        report.add(
            "claim {}, S={} N={} H={}".format(kind, *size), cell.call.server_us, "µs",
            f"in the server; a no-op {cell.noop.server_us:.2f}; to its client {cell.call.client_us:.0f}, "
            f"a no-op {cell.noop.client_us:.0f}",
        )  # fmt: skip
    return {(*size, kind): cell for kind, cell in cells.items()}


def _hits(crowd: Crowd, rounds: int) -> Cell:
    hosts = crowd.large_hosts[:SMALL_HOSTS]
    jobs: list[list[str] | None] = []

    def again() -> None:
        crowd.undo(hosts, [job for job in jobs if job])

    return _cell(crowd, lambda: jobs.__setitem__(slice(None), crowd.claims(hosts)), again, rounds)


def _misses(crowd: Crowd, rounds: int) -> Cell:
    """On hosts that forgot their last miss, as when somebody was queued since."""

    def forget() -> None:
        crowd.submit(1)

    forget()
    return _cell(crowd, lambda: crowd.claims(crowd.small_hosts), forget, rounds)


def _misses_again(crowd: Crowd, rounds: int) -> Cell:
    """On hosts for which nothing has changed since the last miss."""
    crowd.claims(crowd.small_hosts)
    return _cell(crowd, lambda: crowd.claims(crowd.small_hosts), lambda: None, rounds)


def _cell(crowd: Crowd, claim: Callable[[], object], restore: Callable[[], object], rounds: int) -> Cell:
    calls, noops = [], []
    for number in range(rounds + 1):
        noop = timed(crowd, lambda: [crowd.call("noop") for _ in range(NOOPS)])
        call = timed(crowd, claim)
        restore()
        if number:  # the first only warms up
            calls.append(call)
            noops.append(noop)
    both = list(zip(noops, calls, strict=True))
    return Cell(
        Took(median(c.server_us for c in calls), median(c.client_us for c in calls)),
        Took(median(n.server_us for n in noops), median(n.client_us for n in noops)),
        median(n.server_us / c.server_us for n, c in both),
        median(n.client_us / c.client_us for n, c in both),
    )
