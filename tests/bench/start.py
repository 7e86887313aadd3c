"""From submit to running on a real engine, beside what the engine alone takes for the same container."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from bench.dockerfile import Dockerfile
from bench.pairs import Pairs, in_turn
from bench.report import Report
from bench.site import Site

DATA = Path("var/bench/data")  # kept, so that base images and wheels are there at the next run
SCIENCE = ("numpy", "pandas", "scikit-learn", "matplotlib")
TORCH = ("torch",)
AT_ONCE = 50


def run(report: Report, quick: bool) -> None:
    """All figures of the host side."""
    rounds = 3 if quick else 10
    with tempfile.TemporaryDirectory() as directory, Site(Path(directory), DATA) as site:
        site.make()  # the base image, if it is not here
        everything_present(report, site, rounds)
        at_once(report, site, 10 if quick else AT_ONCE, 1 if quick else 3)
        new_libraries(report, site, "numpy, pandas, scikit-learn, matplotlib", SCIENCE, rounds, 1 if quick else 2)
        if not quick:
            new_libraries(report, site, "torch", TORCH, rounds, 1)


def everything_present(report: Report, site: Site, rounds: int) -> None:
    """Nothing has to be made but storage and container."""
    pairs = in_turn(lambda: _ours(site), lambda: _alone(site), rounds)
    report.add("everything present ÷ create + start", pairs.ratio, "×", _both(pairs), at_most=1.25)
    _phases(report, site, "everything present", rounds)


def new_libraries(report: Report, site: Site, name: str, libraries: tuple[str, ...], rounds: int, builds: int) -> None:
    """A set of libraries that no layer has, of wheels that are here; with and without a builder that waits."""
    site.make(libraries)  # the wheels

    def ours(cold: bool) -> float:
        site.forget_libraries()
        if cold:
            site.forget_builders()
        return _ours(site, libraries)

    cold = in_turn(lambda: ours(True), lambda: _alone(site), rounds)
    report.add(f"{name}, new set ÷ create + start", cold.ratio, "×", f"{_both(cold)}; no builder waits", at_most=4)
    _phases(report, site, name, rounds)
    warm = in_turn(lambda: ours(False), lambda: _alone(site), rounds)
    report.add(f"{name}, next new set ÷ create + start", warm.ratio, "×", f"{_both(warm)}; a builder waits", at_most=4)
    with Dockerfile(site, libraries) as image:
        built = in_turn(image.build_and_start, lambda: ours(True), builds)
    report.add(
        f"{name}: docker build with pip ÷ ours", built.ratio, "×",
        f"{built.median_a:.1f} s to {built.median_b:.2f} s; wheels from the same index", at_least=30,
    )  # fmt: skip


def at_once(report: Report, site: Site, count: int, rounds: int) -> None:
    """So many at the same moment on one host, beside the engine alone with as many threads as the worker has."""
    failed = 0

    def ours() -> float:
        nonlocal failed
        taken, lost = site.started(count)
        failed += lost
        return taken

    with site.prepared(count) as alone:
        pairs = in_turn(ours, alone.start_all, rounds)
    report.add(f"{count} at once ÷ the engine alone", pairs.ratio, "×", _both(pairs), at_most=1.2)
    report.add(f"{count} at once: failed", failed, "", f"in {rounds} rounds", at_most=0)


def _ours(site: Site, libraries: tuple[str, ...] = ()) -> float:
    taken, lost = site.started(1, libraries)
    if lost:
        raise RuntimeError("the environment failed")
    return taken


def _alone(site: Site) -> float:
    with site.prepared(1) as alone:
        return alone.start_all()


def _both(pairs: Pairs) -> str:
    return f"{pairs.median_a * 1000:.0f} ms to {pairs.median_b * 1000:.0f} ms"


def _phases(report: Report, site: Site, name: str, rounds: int) -> None:
    """Where the time of the last ones went."""
    spent = site.phases[-rounds:]
    steps = list(dict.fromkeys(step for one in spent for step in one))
    told = ", ".join(f"{step} {median(one.get(step, 0) for one in spent):.0f}" for step in steps)
    whole = median(sum(one.values()) for one in spent)
    report.add(f"{name}: the ledger's own times", whole, "ms", told)
