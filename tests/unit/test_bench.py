"""The harness of the benches: a target that is missed makes the run fail, and every figure is kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from bench import __main__ as bench
from bench.pairs import in_turn
from bench.report import Report


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(tmp_path / "var" / "bench.json")


def test_a_missed_target_fails_the_run_and_is_in_the_file(report: Report) -> None:
    report.add("speed", 2.0, "×", "beside a bare one", at_least=1.0)
    report.add("size", 10, "bytes", "counted")
    assert bench.conclude(report) == 0
    report.add("delay", 1.31, "×", "beside a bare one", at_most=1.3)
    assert bench.conclude(report) == 1
    assert json.loads(report.path.read_text()) == [
        {"name": "speed", "value": 2.0, "unit": "×", "target": "≥ 1", "ok": True, "how": "beside a bare one"},
        {"name": "size", "value": 10.0, "unit": "bytes", "target": None, "ok": None, "how": "counted"},
        {"name": "delay", "value": 1.31, "unit": "×", "target": "≤ 1.3", "ok": False, "how": "beside a bare one"},
    ]


@pytest.mark.parametrize("bound", [{"at_least": 1.0}, {"at_most": 1.0}])
def test_what_could_not_be_measured_missed_its_target(report: Report, bound: dict[str, float]) -> None:
    assert report.add("speed", None, "×", "nothing answered", **bound).ok is False


def test_a_group_that_breaks_keeps_its_figures_and_fails_the_run(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ModuleType("bench.broken")

    def run(report: Report, quick: bool) -> None:
        report.add("first", 1, "s", "")
        raise RuntimeError("no such thing")

    broken.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bench.broken", broken)
    bench.measure(report, "broken", quick=True)
    assert [(figure.name, figure.ok) for figure in report.figures] == [("first", None), ("broken", False)]
    assert bench.conclude(report) == 1


def test_a_group_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["ledgers"]) == 2
    assert "ledgers" in capsys.readouterr().err


def test_two_things_are_measured_in_turn_and_compared_round_by_round() -> None:
    order = ""
    times = {"a": iter([2.0, 30.0, 8.0]), "b": iter([1.0, 10.0, 2.0])}

    def measure(name: str) -> float:
        nonlocal order
        order += name
        return next(times[name])

    pairs = in_turn(lambda: measure("a"), lambda: measure("b"), rounds=3)
    assert order == "abbaab"
    assert (pairs.ratio, pairs.median_a, pairs.median_b) == (3.0, 8.0, 2.0)
