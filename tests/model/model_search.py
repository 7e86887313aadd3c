"""The search: every state that can be reached, breadth first: what breaks a promise is met by the shortest way."""

from __future__ import annotations

from dataclasses import dataclass

from model_ledger import TOKENS_FROM_SNAPSHOT
from model_names import canonical
from model_steps import NONE, Step, successors, workers
from model_world import NEEDS, Broken, Budget, World, beginning, check, check_calm, check_step


@dataclass(frozen=True)
class Found:
    """What a search met: how many states, how far the farthest is, and the trace to what is broken, if anything is."""

    states: int
    depth: int
    problem: str = ""
    trace: tuple[Step, ...] = ()

    def __str__(self) -> str:
        if not self.problem:
            return f"{self.states:,} states, the farthest after {self.depth} steps; every promise holds in each"
        steps = [f"  {i}. {step}" for i, step in enumerate(self.trace, 1)]
        return "\n".join([f"after {self.states:,} states: {self.problem}, by", *steps])


def search(budget: Budget, bugs: frozenset[str] = NONE, environments: int = len(NEEDS)) -> Found:
    """Visit every reachable state, or the first that breaks a promise."""
    start = _named(beginning(budget, environments), bugs)
    before: dict[World, World | None] = {start: None}
    calming: set[World] = set()
    frontier, depth = [start], 0
    while frontier:
        found = []
        for world in frontier:
            after = None
            try:
                for _, reached in successors(world, bugs):
                    after = _named(reached, bugs)
                    check_step(world, reached)
                    if after not in before:
                        before[after] = world
                        check(after)
                        found.append(after)
                after = None
                _calms_down(world, bugs, calming)
            except Broken as broken:
                trace = _trace(before, [world, *([after] if after else [])], bugs, beginning(budget, environments))
                return Found(len(before), depth, str(broken), trace)
        frontier, depth = found, depth + bool(found)
    return Found(len(before), depth)


def _calms_down(world: World, bugs: frozenset[str], calming: set[World]) -> None:
    """From here, if fate rests, workers that go on come to where there is nothing left to do. Raises Broken."""
    path: list[World] = []
    on_path: set[World] = set()
    while world not in calming:
        if world in on_path:
            raise Broken("workers go in circles")
        path.append(world)
        on_path.add(world)
        after = _first_change(world, bugs)
        if after is None:
            check_calm(world)
            break
        world = after
    calming.update(path)


def _first_change(world: World, bugs: frozenset[str]) -> World | None:
    """What a worker does next, if anything; a thread does not fail and forgets nothing."""
    for step, after in workers(world, bugs):
        if step.what not in ("cannot make", "begins and forgets") and after != world:
            return _named(after, bugs)
    return None


def _trace(
    before: dict[World, World | None], worlds: list[World], bugs: frozenset[str], start: World
) -> tuple[Step, ...]:
    """The steps to the last of `worlds`, told with the names that hosts and environments had at the beginning."""
    chain = worlds[::-1]
    while (earlier := before[chain[-1]]) is not None:
        chain.append(earlier)
    here, steps = start, []
    for there in reversed(chain[:-1]):
        step, here = next((s, w) for s, w in successors(here, bugs) if _named(w, bugs) == there)
        steps.append(step)
    return tuple(steps)


def _named(world: World, bugs: frozenset[str]) -> World:
    return canonical(world, ordered=TOKENS_FROM_SNAPSHOT in bugs)
