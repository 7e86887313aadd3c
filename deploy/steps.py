"""What a person sees of a long command: one line a step, what was found, and the time that it took.

Runs before the virtual environment exists, so here and in `host`, `venv` and `run` only the standard library is used.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import DCloudError


class SetupError(DCloudError):
    """A step cannot be done. The text says what to do about it; `log` has the details where there are any."""

    def __init__(self, message: str, log: Path | None = None):
        self.log = log
        super().__init__(message)


@dataclass
class Step:
    """A step under way. What is put into `found` stands behind its name when it is over."""

    found: str = ""


@contextmanager
def step(name: str) -> Iterator[Step]:
    """Print one line for what happens inside, once it has succeeded; a terminal sees it from the start."""
    under_way = Step()
    began = time.monotonic()
    if sys.stdout.isatty():
        print(f"         …  {name}", end="", flush=True)
    try:
        yield under_way
    except BaseException:
        if sys.stdout.isatty():
            print(f"\r\033[K         ✗  {name}")
        raise
    start = "\r\033[K" if sys.stdout.isatty() else ""
    print(f"{start}{time.monotonic() - began:6.1f} s  ✓  {name:<18} {under_way.found}".rstrip(), flush=True)


def explain(error: DCloudError) -> None:
    """Print an error as one sentence, and the end of its log."""
    print(f"\n{error}", file=sys.stderr)
    log = getattr(error, "log", None)
    if log is not None and log.exists():
        lines = log.read_text(errors="replace").splitlines()[-15:]
        print(f"\nThe last lines of {log}:", *(f"  {line}" for line in lines), sep="\n", file=sys.stderr)
