"""Volumes: the sized storage of an environment: its workspace, its home and its changes to the layer.

data_dir/volumes/<environment>/
    owner.json    whose it is; written first, so that a crash leaves nothing unnamed
    size_mib      what it was made or grown to
    mount/        where it is mounted: home, workspace, and layers/<key>/{upper,work}
    pinned.json   the libraries, with versions: a restart must find the layer that the upper side lies on
    ...           and what its kind of storage keeps there: `loop_storage.py` or `quota_storage.py`
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from common.errors import ProvisionError, SettingsError
from common.settings import Settings
from common.states import Reason
from workers.loop_storage import LoopStorage
from workers.mounts import mounted, unmount
from workers.quota_storage import QuotaStorage

USER = 1000  # user and group of everything that belongs to an environment

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Fill:
    """How full a volume is."""

    used_bytes: int
    size_bytes: int  # of the file system; a little less than the file
    writable: bool  # False once the kernel has given it up after an error of the disk
    files_share: float = 0.0  # 0 to 1, of the files that it can have: very many small ones end it too

    @property
    def share(self) -> float:
        """0 to 1, of its bytes or of its files, whichever is more."""
        return max(self.used_bytes / self.size_bytes if self.size_bytes else 0.0, self.files_share)


@dataclass(frozen=True)
class Volume:
    """A mounted volume."""

    directory: Path
    seccomp: str = ""  # the profile that holds its wall from inside, as JSON; "" is the engine's default

    @property
    def home(self) -> Path:
        return self.directory / "mount" / "home"

    @property
    def workspace(self) -> Path:
        return self.directory / "mount" / "workspace"

    def pin(self, base: str, libraries: Sequence[str], lock: str, layer: str) -> None:
        """Remember the lock that this storage is used with, and the key of the layer that its upper side lies on."""
        values = {"base": base, "libraries": sorted(libraries), "lock": lock, "layer": layer}
        _write(self.directory / "pinned.json", json.dumps(values))

    def pinned(self, base: str, libraries: Sequence[str]) -> tuple[str, str]:
        """What it was last used with, lock and layer, if it was for the same base image and libraries; else "" each."""
        try:
            values = json.loads((self.directory / "pinned.json").read_text())
        except (OSError, ValueError):
            return "", ""
        if values["base"] == base and values["libraries"] == sorted(libraries):
            return str(values["lock"]), str(values.get("layer", ""))
        return "", ""

    def upper(self, layer: str) -> tuple[Path, Path]:
        """The two directories of an overlay's writable side above `layer`, made where they are missing."""
        base = self.directory / "mount" / "layers" / layer
        _make(base / "upper", USER, 0o755)
        _make(base / "work", USER, 0o755)
        return base / "upper", base / "work"


class Storage(Protocol):
    """What limits the volumes of a host. `directory` is a volume's; errors are OSError and SubprocessError."""

    name: str  # in the inventory

    @property
    def seccomp(self) -> str:
        """See Volume. May raise ValueError as well."""

    def missing(self) -> str:
        """What keeps this host from having it, as a sentence; "" where it has it."""

    def holds(self, directory: Path) -> bool:
        """Whether the volume is of this kind, and completely made."""

    def make(self, directory: Path, size_mib: int) -> None:
        """Make it, not mounted. After a crash in the middle it is made again."""

    def grow(self, directory: Path, size_mib: int) -> None:
        """Let it hold so much, if it does not yet. It is not mounted."""

    def mount(self, directory: Path) -> None:
        """Mount it at `mount`, which exists."""

    def delete(self, directory: Path) -> None:
        """Delete what it made or began. Fine where that is nothing. It is not mounted."""

    def taken_bytes(self, directory: Path) -> int:
        """What it takes of the host's own file system."""


class Volumes:
    """The volumes of this host. One thread at a time may work on one environment's."""

    def __init__(self, settings: Settings):
        """Raises SettingsError where the settings name a kind of storage that there is not."""
        self.directory = settings.data_dir / "volumes"
        self.owner = {"host": settings.host, "prefix": settings.key_prefix}
        self.kinds: tuple[Storage, ...] = (LoopStorage(), QuotaStorage(settings))
        if settings.storage not in ("", *(kind.name for kind in self.kinds)):
            raise SettingsError(f"DCLOUD_STORAGE is {settings.storage!r}; it may be loop, quota or empty.")
        self._wanted = [kind for kind in self.kinds if settings.storage in ("", kind.name)]

    def storage(self) -> Storage | None:
        """What limits new volumes here, None where nothing can."""
        return next((kind for kind in self._wanted if not kind.missing()), None)

    def missing(self) -> list[str]:
        """Why nothing can, a sentence for each kind that would do."""
        return [said for kind in self._wanted if (said := kind.missing())]

    def get(self, env_id: str) -> Volume:
        """The place of a volume, whether or not it exists."""
        if not _ID.fullmatch(env_id):
            raise ValueError(f"{env_id!r} is not an environment's id")
        return Volume(self.directory / env_id)

    def open(self, env_id: str, size_mib: int) -> Volume:
        """The volume, made, grown to `size_mib` and mounted where it was not. Raises ProvisionError."""
        volume = self.get(env_id)
        try:
            volume.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self._ours(volume.directory / "owner.json"):
                _write(volume.directory / "owner.json", json.dumps(self.owner))
            there = self._kind(volume)
            storage = there or self.storage()
            if storage is None:
                raise OSError(" ".join(self.missing()))
            size = volume.directory / "size_mib"
            if there is None:
                _write(size, str(size_mib))
                storage.make(volume.directory, size_mib)
            elif _number(size) < size_mib:
                self.close(env_id)
                storage.grow(volume.directory, size_mib)
                _write(size, str(size_mib))
            if not mounted(volume.directory / "mount"):
                (volume.directory / "mount").mkdir(exist_ok=True)
                storage.mount(volume.directory)
            _make(volume.home, USER, 0o755)
            _make(volume.workspace, USER, 0o755)
            (volume.directory / "mount" / "layers").mkdir(exist_ok=True)
            return replace(volume, seccomp=storage.seccomp)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise ProvisionError(
                Reason.STORAGE_UNAVAILABLE, f"The host could not make {size_mib} MiB of storage.", _explain(error)
            ) from error

    def close(self, env_id: str) -> None:
        """Unmount; the files stay. Fine where nothing is mounted."""
        unmount(self.get(env_id).directory / "mount")

    def fill(self, env_id: str) -> Fill | None:
        """How full it is, None where it is not mounted."""
        mount = self.get(env_id).directory / "mount"
        try:
            if not mounted(mount):
                return None
            said = os.statvfs(mount)
        except OSError:
            return None  # unmounted this moment
        size, free = said.f_blocks * said.f_frsize, said.f_bfree * said.f_frsize
        files_share = 1 - said.f_ffree / said.f_files if said.f_files else 0.0
        return Fill(size - free, size, not said.f_flag & os.ST_RDONLY, files_share)

    def remove(self, env_id: str) -> None:
        """Unmount and delete all of it. Fine where there is nothing."""
        self.close(env_id)
        volume = self.get(env_id)
        if volume.directory.exists():
            for kind in self.kinds:
                kind.delete(volume.directory)  # what it had only begun too
            # the owner's name goes last: a crash half-way leaves what `all` still finds
            for path in sorted(volume.directory.iterdir(), key=lambda p: p.name == "owner.json"):
                if path.is_dir():
                    path.rmdir()  # the mount point; it is empty, and nothing is ever deleted through it
                else:
                    path.unlink()
            volume.directory.rmdir()

    def mine(self, env_id: str) -> bool:
        """Whether no other host of this machine has taken the storage over."""
        owner = self.get(env_id).directory / "owner.json"
        return not owner.exists() or not owner.stat().st_size or self._ours(owner)

    def all(self) -> list[str]:
        """Environments whose storage lies here under this host's name."""
        return [path.parent.name for path in sorted(self.directory.glob("*/owner.json")) if self._ours(path)]

    def taken_bytes(self) -> int:
        """What all volumes of this machine take of its file system now."""
        found = [(kind, path) for path in self.directory.glob("*") for kind in self.kinds if kind.holds(path)]
        return sum(kind.taken_bytes(path) for kind, path in found)

    def _kind(self, volume: Volume) -> Storage | None:
        return next((kind for kind in self.kinds if kind.holds(volume.directory)), None)

    def _ours(self, owner: Path) -> bool:
        try:
            return bool(json.loads(owner.read_text()) == self.owner)
        except (OSError, ValueError):
            return False


def _make(path: Path, owner: int, mode: int) -> None:
    if not path.exists():
        path.mkdir(parents=True, mode=mode)
        os.chown(path, owner, owner)


def _write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def _number(path: Path) -> int:
    """What was written there, 0 where a power cut has left nothing of it."""
    try:
        return int(path.read_text() or 0)
    except FileNotFoundError:
        return 0


def _explain(error: Exception) -> str:
    return f"{error}\n{getattr(error, 'stderr', '') or ''}".strip()
