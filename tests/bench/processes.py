"""Processes that a bench needs, and waiting for them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def process(command: list[str], env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs until the end of the block."""
    with log.open("wb") as output:
        running = subprocess.Popen(command, env=env, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(timeout=90)


def until(true: Callable[[], object], what: str, log: Path | None = None, timeout_seconds: float = 120) -> None:
    """Return once it is true; TimeoutError with the end of the log where it does not come to be."""
    give_up = time.monotonic() + timeout_seconds
    while not true():
        if time.monotonic() > give_up:
            raise TimeoutError(f"not within {timeout_seconds} s: {what}\n{log.read_text()[-2000:] if log else ''}")
        time.sleep(0.02)
