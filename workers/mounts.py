"""Mounts, and the commands that make them."""

from __future__ import annotations

import subprocess
from pathlib import Path

TIMEOUT_SECONDS = 120


def run(*command: str | Path, good: tuple[int, ...] = (0,)) -> str:
    """What a command prints. Raises CalledProcessError where its status is not one of `good`, OSError without it."""
    words = [str(word) for word in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    if done.returncode not in good:
        raise subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)
    return done.stdout


def mounted(point: Path) -> bool:
    """Whether something is mounted right there."""
    wanted = str(point.absolute())
    return any(line.split(" ")[4] == wanted for line in Path("/proc/self/mountinfo").read_text().splitlines())


def unmount(point: Path) -> None:
    """Unmount all that is mounted there; fine where there is nothing."""
    while mounted(point):
        run("umount", point)


def file_system_of(path: Path) -> tuple[Path, str, set[str]]:
    """Where the file system that holds `path` is mounted, its type, and its options."""
    path = path.resolve()
    found = (Path("/"), "", set[str]())
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        point = Path(before.split(" ")[4])
        if path.is_relative_to(point) and len(point.parts) >= len(found[0].parts):  # of two at one place the later
            kind, _, options = after.split(" ", 2)
            found = (point, kind, set(options.split(",")))
    return found
