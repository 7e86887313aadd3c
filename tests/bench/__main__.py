"""`python -m bench [--quick] [GROUP]…`: run groups of benches; 1 where a target is missed.

A group is a module of this package with `run(report, quick)`.
"""

from __future__ import annotations

import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

from rich.console import Console

from bench.report import Report

GROUPS = ("ledger", "start", "api", "pages")
RESULTS = Path("var/bench.json")


def main(arguments: list[str]) -> int:
    """Run the groups that are named, or all, small where `--quick` is; the exit status."""
    quick = "--quick" in arguments
    groups = [name for name in arguments if name != "--quick"] or list(GROUPS)
    if unknown := set(groups) - set(GROUPS):
        print(f"There is no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}.", file=sys.stderr)
        return 2
    report = Report(RESULTS)
    for group in groups:
        measure(report, group, quick)
    return conclude(report)


def measure(report: Report, group: str, quick: bool) -> None:
    """Run one group. One that breaks keeps what it measured and counts as missed."""
    began = time.monotonic()
    print(f"{group}:", flush=True)
    try:
        import_module(f"bench.{group}").run(report, quick)
    except Exception as error:
        traceback.print_exc()
        report.failed(group, f"{type(error).__name__}: {error}"[:300])
    print(f"  ({time.monotonic() - began:.0f} s)", flush=True)


def conclude(report: Report) -> int:
    """Show the table and say what it comes to; the exit status."""
    Console(width=None if sys.stdout.isatty() else 160).print(report.table())
    promised = [figure for figure in report.figures if figure.ok is not None]
    print(f"\n{len(promised) - len(report.missed)} of {len(promised)} targets are reached. All figures: {report.path}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
