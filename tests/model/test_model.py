"""Every state of a small cluster that faults can lead to: the promises hold in each, and a planted bug is met.

The part that CI runs has one kind of fault at a time; DCLOUD_FAULTS=full combines them, which takes many minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import model_ledger as bugs
import pytest
from model_names import canonical
from model_search import search
from model_steps import successors
from model_world import Budget, World, beginning

SEARCHES = {
    "a worker crashes": (Budget(crashes=1), 3),
    "a host falls silent": (Budget(silences=1), 3),
    "users stop, start and delete": (Budget(deletes=1, stops=1), 3),
    "Redis comes back as a snapshot, a worker crashes, a host falls silent": (Budget(1, 1, 1), 1),
}
if os.environ.get("DCLOUD_FAULTS") == "full":
    SEARCHES |= {
        "a worker crashes and a host falls silent": (Budget(crashes=1, silences=1), 3),
        "a worker crashes while users stop, start and delete": (Budget(crashes=1, deletes=1, stops=1), 3),
        "a host falls silent while users stop, start and delete": (Budget(silences=1, deletes=1, stops=1), 3),
        "a worker crashes twice": (Budget(crashes=2), 3),
        "Redis comes back as a snapshot": (Budget(rollbacks=1), 2),
        "Redis comes back as a snapshot and a worker crashes": (Budget(rollbacks=1, crashes=1), 2),
        "Redis comes back as a snapshot and a host falls silent": (Budget(rollbacks=1, silences=1), 2),
    }

PLANTED = {
    bugs.ALLOCATION_NOT_LOOKED_AT: Budget(silences=1),
    bugs.RELEASED_TWICE: Budget(deletes=1),
    bugs.CAPACITY_FIRST: Budget(),
    bugs.TOKENS_FROM_SNAPSHOT: Budget(rollbacks=1),
    bugs.STARTING_GIVEN_AWAY: Budget(silences=1),
    bugs.NEVER_GIVEN_BACK: Budget(),
    bugs.STRANGERS_STAY: Budget(rollbacks=1),
}


@pytest.mark.parametrize("fault", SEARCHES)
def test_every_promise_holds_in_every_reachable_state(fault: str) -> None:
    budget, environments = SEARCHES[fault]
    found = search(budget, environments=environments)
    print(f"{fault}: {found}")
    assert not found.problem, str(found)
    assert found.states > 1000, "so few cannot be all"


def test_every_bug_is_planted() -> None:
    assert set(PLANTED) == set(bugs.BUGS)


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_met_by_the_shortest_way(bug: str) -> None:
    found = search(PLANTED[bug], frozenset({bug}), environments=1 if PLANTED[bug].rollbacks else 2)
    print(f"{bug}: {found}")
    assert found.problem


def test_names_that_do_not_matter_hide_no_state() -> None:
    """With and without renaming the same is reached."""

    def reached(named: Callable[[World], World]) -> set[World]:
        found = {named(beginning(Budget(silences=1, deletes=1), environments=1))}
        frontier = list(found)
        while frontier:
            after = {named(after) for world in frontier for _, after in successors(world)}
            frontier = list(after - found)
            found |= after
        return found

    everything, named = reached(lambda world: world), reached(canonical)
    assert len(everything) > 2 * len(named) > 100
    assert {canonical(world) for world in everything} == named
