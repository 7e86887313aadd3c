"""What others do with the same trace: plain FIFO, and a task queue that sends back what does not fit where it came to.

Both are simulated event by event; they know no GPU model, no fairness and no reservation.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from bench.trace import Want
from common.inventory import Inventory

RETRY_SECONDS = 60.0  # until a task that did not fit is tried again


@dataclass
class Room:
    """What is free on one host."""

    cpu: int
    ram_gib: int
    gpus: int

    @classmethod
    def of(cls, has: Inventory) -> Room:
        return cls(has.cpu_milli // 1000, has.ram_mib // 1024, len(has.gpus))

    def fits(self, want: Want) -> bool:
        return self.cpu >= want.cpu and self.ram_gib >= want.ram_gib and self.gpus >= want.gpus

    def take(self, want: Want, sign: int = 1) -> None:
        self.cpu -= sign * want.cpu
        self.ram_gib -= sign * want.ram_gib
        self.gpus -= sign * want.gpus


Placed = dict[int, tuple[float, str]]  # number → when it began, and where


def fifo(trace: list[Want], hosts: dict[str, Inventory]) -> Placed:
    """Whoever came first is served first, on the first host with room; nobody passes the head."""
    rooms = {name: Room.of(has) for name, has in hosts.items()}
    placed: Placed = {}
    ends: list[tuple[float, int, str, Want]] = []
    now = 0.0
    for want in trace:
        now = max(now, want.arrives)
        while True:
            while ends and ends[0][0] <= now:
                _, _, name, over = heapq.heappop(ends)
                rooms[name].take(over, -1)
            found = next((name for name, room in rooms.items() if room.fits(want)), None)
            if found:
                break
            now = ends[0][0]
        rooms[found].take(want)
        placed[want.number] = (now, found)
        heapq.heappush(ends, (now + want.runs, want.number, found, want))
    return placed


def requeue(trace: list[Want], hosts: dict[str, Inventory], seed: int = 7) -> Placed:
    """A worker somewhere takes the next task; where it does not fit the task goes back and waits."""
    rooms = {name: Room.of(has) for name, has in hosts.items()}
    names, dice, placed = list(rooms), random.Random(seed), Placed()
    order: Iterator[int] = itertools.count()
    events: list[tuple[float, int, str, Want]] = [(want.arrives, next(order), "", want) for want in trace]
    heapq.heapify(events)
    while events:
        now, _, ended_on, want = heapq.heappop(events)
        if ended_on:
            rooms[ended_on].take(want, -1)
            continue
        name = dice.choice(names)
        if rooms[name].fits(want):
            rooms[name].take(want)
            placed[want.number] = (now, name)
            heapq.heappush(events, (now + want.runs, next(order), name, want))
        else:
            heapq.heappush(events, (now + RETRY_SECONDS, next(order), "", want))
    return placed
