"""Two things measured beside each other: in turn, in one run, so that a busy moment of the machine meets both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Pairs:
    """What each round measured of A and of B, in the same unit."""

    a: tuple[float, ...]
    b: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """A to B: the median of the rounds' own ratios."""
        return median(a / b for a, b in zip(self.a, self.b, strict=True))

    @property
    def median_a(self) -> float:
        return median(self.a)

    @property
    def median_b(self) -> float:
        return median(self.b)


def in_turn(a: Callable[[], float], b: Callable[[], float], rounds: int) -> Pairs:
    """Let each measure itself once a round; which of them begins changes with every round."""
    of_a, of_b = [], []
    for number in range(rounds):
        if number % 2:
            of_b.append(b())
            of_a.append(a())
        else:
            of_a.append(a())
            of_b.append(b())
    return Pairs(tuple(of_a), tuple(of_b))


def seconds(act: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
