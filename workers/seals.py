"""Seals: what says that a layer is whole. A tree without one was never finished and is made again.

Waiting until a layer is on the disk takes longer than linking it. So one of known wheels is sealed before, for as long
as the machine runs: after a power cut its own files may be empty. The worker's sweep brings it to the disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

SYNC_TIMEOUT_SECONDS = 600


class Seals:
    """The seals of this machine, files `<key>.json` in a directory."""

    def __init__(self, directory: Path):
        self.directory = directory

    def path(self, key: str) -> Path:
        """Where the seal of a layer is."""
        return self.directory / f"{key}.json"

    def hold(self, key: str) -> bool:
        """Whether a layer is sealed, and can be trusted since the machine started."""
        values = _read(self.path(key))
        return bool(values) and values.get("boot", "") in ("", _boot())

    def write(self, key: str, lock: str, on_disk: bool) -> None:
        """Seal a layer that is made."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._put(key, {"lock": lock, "created": time.time(), "boot": "" if on_disk else _boot()})

    def lock(self, key: str) -> str:
        """The lock of a layer, "" where its seal cannot be read."""
        return str(_read(self.path(key)).get("lock", ""))

    def keys(self) -> list[str]:
        """Of all that have one, the longest unused first."""
        return [path.stem for path in sorted(self.directory.glob("*.json"), key=lambda path: path.stat().st_mtime)]

    def used(self, key: str) -> None:
        """A layer is used now."""
        os.utime(self.path(key))

    def break_(self, key: str) -> None:
        """A layer does not count any more."""
        self.path(key).unlink(missing_ok=True)

    def settle(self, store: Path) -> None:
        """Bring to the disk what is sealed for as long as the machine runs. Raises SubprocessError."""
        fresh = [key for key in self.keys() if _read(self.path(key)).get("boot") == _boot()]
        if fresh:
            sync(store)
        for key in fresh:
            with suppress(FileNotFoundError):  # the layer has gone this moment
                used = self.path(key).stat().st_mtime
                self._put(key, {**_read(self.path(key)), "boot": ""})
                os.utime(self.path(key), (used, used))

    def _put(self, key: str, values: dict[str, Any]) -> None:
        new = self.directory / f"{key}.new"
        new.write_text(json.dumps(values))
        new.rename(self.path(key))


def sync(store: Path) -> None:
    """Wait until all that was written to the store is on the disk. Raises SubprocessError."""
    subprocess.run(["sync", "-f", str(store)], check=True, timeout=SYNC_TIMEOUT_SECONDS)


def _read(path: Path) -> dict[str, Any]:
    """What a seal says; nothing where it is missing, or a power cut has left it empty."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
