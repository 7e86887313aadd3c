"""The store's size: layers and uv's cache together stay under a cap, least recently used out first.

What an environment of this machine has, running or stopped, stays whatever the size is; and nothing goes
while anything is being installed or is about to be used. Who does that holds the store's lock, shared.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common import units
from common.errors import SettingsError
from common.settings import Settings
from workers.filelocks import alone, shared
from workers.seals import Seals
from workers.source_builds import BUILT

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 3600
UNFINISHED = ("layers/*", "work/*", "cache/*/.tmp*")  # a layer is, where it has no seal; uv unpacks into the last
ENTRY_BYTES = 1 << 20  # an entry of uv's cache has a few hundred bytes


class Store:
    """The store of this machine. Several processes may work on it."""

    def __init__(self, settings: Settings):
        """Raises SettingsError where the cap is no size."""
        self.root = settings.data_dir / "store"
        self.seals = Seals(settings.data_dir / "layers")
        self.compiled = settings.data_dir / "compiled"
        self.volumes = settings.data_dir / "volumes"
        self.lock = settings.data_dir / "locks" / "store"
        try:
            self.limit_bytes = units.size_mib(settings.store_limit) * units.MIB
        except ValueError as error:
            raise SettingsError(f"DCLOUD_STORE_LIMIT: {settings.store_limit!r} {error}.") from None
        self._seen: frozenset[str] = frozenset()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Nothing goes meanwhile. From looking for a layer until a volume says that it needs it."""
        with shared(self.lock):
            yield

    def tidy(self) -> list[str]:
        """Make room where there is too much; the keys of the layers that went. Does nothing while the store is used."""
        if self._contents() == self._seen:
            return []  # nothing was added since the last time
        self.seals.settle(self.root)
        with alone(self.lock) as free:
            if not free:
                return []
            self._drop_unfinished()
            contents = self._contents()
        gone: list[str] = []
        if self._bytes() > self.limit_bytes:
            with alone(self.lock) as free:
                if not free:
                    return []
                gone = self._shrink()
                contents = self._contents()
        self._seen = contents
        return gone

    def _drop_unfinished(self) -> None:
        """What was called off or killed left these, and nobody is at them now."""
        sealed = set(self.seals.keys())
        for path in (path for glob in UNFINISHED for path in self.root.glob(glob)):
            if path.is_dir() and path.name not in sealed:
                _delete(path)
            elif path.is_file():
                path.unlink()

    def _shrink(self) -> list[str]:
        gone: list[str] = []
        unused = self._unused()
        size = self._bytes()
        while size > self.limit_bytes:
            if not self._drop_unlinked():
                if not unused:
                    log.warning(
                        "The store has %s, over its cap of %s (DCLOUD_STORE_LIMIT), and all of it is in use.",
                        *(units.human_mib(amount // units.MIB) for amount in (size, self.limit_bytes)),
                    )
                    break
                key = unused.pop(0)
                self.seals.break_(key)  # a tree without one does not count
                _delete(self.root / "layers" / key)
                gone.append(key)
                self._drop_unlinked()
            size = self._bytes()
        if gone:
            log.info("%d layers that nobody has used for long were removed from the store", len(gone))
        return gone

    def _unused(self) -> list[str]:
        """Keys of layers that no environment has, the longest unused first."""
        locks = set(_pinned(self.volumes))
        mounts = Path("/proc/self/mountinfo").read_text()
        sealed = self.seals.keys()
        return [key for key in sealed if self.seals.lock(key) not in locks and f"/layers/{key}," not in mounts]

    def _drop_unlinked(self) -> bool:
        """Remove wheels, unpacked or built here, that no layer has any more; whether there were some."""
        found = [path for path in self.root.glob("cache/*/archive-v*/*") if not _linked(path)]
        locks = "".join(map(self.seals.lock, self.seals.keys()))
        built = [path for path in self.root.glob(f"{BUILT}/*") if path.name not in locks]
        for path in built:
            _delete(path)
        for path in found:
            _delete(path)
            self._forget(path)
            for mark in self.compiled.glob(f"*/{path.name}"):
                mark.unlink(missing_ok=True)
        return bool(found or built)

    def _forget(self, archive: Path) -> None:
        """Let uv forget an unpacked wheel: it would count on one that its entries name."""
        for entry in archive.parents[1].glob("wheels-v*/**/*"):
            named = entry.readlink().name == archive.name if entry.is_symlink() else False
            if not named and entry.is_file() and entry.stat().st_size < ENTRY_BYTES:
                named = archive.name.encode() in entry.read_bytes()
            if named:
                entry.unlink()

    def _contents(self) -> frozenset[str]:
        return frozenset(str(path) for glob in (*UNFINISHED, "cache/*/archive-v*/*") for path in self.root.glob(glob))

    def _bytes(self) -> int:
        """What it takes on the disk; a file of many names counts once."""
        command = ["nice", "du", "--summarize", "--block-size=1", str(self.root)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        return int((done.stdout.split() or ["0"])[0])


def _linked(archive: Path) -> bool:
    return any(
        os.lstat(os.path.join(directory, name)).st_nlink > 1  # noqa: PTH118 - of very many files
        for directory, _, files in os.walk(archive)
        for name in files
    )


def _pinned(volumes: Path) -> Iterator[str]:
    """The locks that the volumes of this machine are used with."""
    for path in volumes.glob("*/pinned.json"):
        with suppress(OSError, ValueError):  # it has gone this moment, or a power cut has left it empty
            yield str(json.loads(path.read_text())["lock"])


def _delete(tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
