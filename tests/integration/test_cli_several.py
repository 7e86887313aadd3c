"""`dcloud stop`, `start` and `rm` of several environments at once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

from simulated_host import SimulatedHost
from test_cli import DCLOUD, Terminal, dcloud, environ, submit, wait_for

__all__ = ["dcloud", "environ"]

Run = Callable[..., subprocess.CompletedProcess[str]]


def waiting(dcloud: Run, *names: str) -> list[str]:
    """Environments that no host takes; their ids."""
    return [json.loads(dcloud("submit", "-", "--name", name, "--json", stdin="{}").stdout)["id"] for name in names]


def test_each_has_its_own_outcome_and_one_that_fails_holds_up_no_other(dcloud: Run, host: SimulatedHost) -> None:
    first, second, third = (submit(dcloud, name)["id"] for name in ("one", "two", "three"))
    stopped = dcloud("stop", "one", "nothing", first, third)
    assert stopped.returncode == 3
    assert [line.split()[:2] for line in stopped.stdout.splitlines()] == [[first, "one"], [third, "three"]]  # once each
    assert stopped.stderr.startswith("dcloud: nothing: There is no environment 'nothing'.")
    assert len(stopped.stderr.splitlines()) == 1
    for env_id in (first, third):
        wait_for(dcloud, env_id, "stopped")

    every = first[:4]  # ids begin with the time
    again = dcloud("start", "one", every, "three", "--json")
    assert again.returncode == 2
    assert [one["id"] for one in json.loads(again.stdout)] == [first, third]
    assert again.stderr.startswith(f"dcloud: {every}: {every!r} is not one environment but 3: ")

    gone = dcloud("rm", "--yes", "one", "0" * 15, "two")
    assert gone.returncode == 3
    assert [line.split()[0] for line in gone.stdout.splitlines()] == [first, second]
    wait_for(dcloud, second, "deleted")
    wait_for(dcloud, third, "running")


def test_all_that_could_not_be_found(dcloud: Run) -> None:
    done = dcloud("rm", "--json", "one", "two")
    assert (done.returncode, json.loads(done.stdout)) == (3, [])
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == ["one", "two"]


def test_one_alone_is_one_object(dcloud: Run) -> None:
    [env_id] = waiting(dcloud, "lab")
    assert json.loads(dcloud("rm", "lab", "--yes", "--json").stdout)["id"] == env_id
    assert dcloud("rm").returncode == 2


def test_several_are_watched_one_after_the_other(dcloud: Run, host: SimulatedHost) -> None:
    ids = [submit(dcloud, name)["id"] for name in ("one", "two")]
    assert dcloud("stop", *ids).returncode == 0
    for env_id in ids:
        wait_for(dcloud, env_id, "stopped")
    done = dcloud("start", "--watch", *ids)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if " runs on sim" in line] == [
        f"{name} runs on sim. Work in it: dcloud exec {env_id}"
        for name, env_id in zip(("one", "two"), ids, strict=True)
    ]


def test_one_question_names_all_that_would_go(dcloud: Run, environ: dict[str, str]) -> None:
    first, second = waiting(dcloud, "one", "two")
    nobody = dcloud("rm", "one", "two")
    assert (nobody.returncode, "Add --yes" in nobody.stderr) == (2, True)
    for answer, left in ((b"n\n", {first, second}), (b"y\n", set[Any]())):
        terminal = Terminal([DCLOUD, "rm", "one", "two", "three"], environ, cols=200)
        terminal.until(f"Delete one ({first}), two ({second}) and all of their files?".encode())
        terminal.type(answer)
        assert terminal.end() == (3 if not left else 1)
        assert {one["id"] for one in json.loads(dcloud("ls", "--json").stdout)} == left
