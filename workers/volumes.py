"""Volumes: the sized storage of an environment, a file with an ext4 file system that is mounted by a loop device.

data_dir/volumes/<environment>/
    owner.json    whose it is; written first, so that a crash leaves nothing unnamed
    storage.img   the file system; sparse, so that only what is used takes room
    mount/        where it is mounted: home, workspace, and layers/<key>/{upper,work}
    lock.txt      the libraries, pinned: a restart must find the layer that the upper side lies on
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import ProvisionError
from common.settings import Settings
from common.states import Reason
from common.units import MIB

USER = 1000  # user and group of everything that belongs to an environment
MOUNT_OPTIONS = "loop,nosuid,nodev,noatime"
TIMEOUT_SECONDS = 120
RELEASE_SECONDS = 20.0

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Fill:
    """How full a volume is."""

    used_bytes: int
    size_bytes: int  # of the file system; a little less than the file
    writable: bool  # False once the kernel has given it up after an error of the disk

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.used_bytes / self.size_bytes if self.size_bytes else 0.0


@dataclass(frozen=True)
class Volume:
    """A mounted volume."""

    directory: Path

    @property
    def home(self) -> Path:
        return self.directory / "mount" / "home"

    @property
    def workspace(self) -> Path:
        return self.directory / "mount" / "workspace"

    def pin(self, base: str, libraries: Sequence[str], lock: str) -> None:
        """Remember the lock that this storage is used with."""
        values = {"base": base, "libraries": sorted(libraries), "lock": lock}
        _write(self.directory / "pinned.json", json.dumps(values))

    def pinned(self, base: str, libraries: Sequence[str]) -> str | None:
        """The lock that this storage was last used with, if it was for the same base image and libraries."""
        try:
            values = json.loads((self.directory / "pinned.json").read_text())
        except (OSError, ValueError):
            return None
        if values["base"] == base and values["libraries"] == sorted(libraries):
            return str(values["lock"])
        return None

    def upper(self, layer: str) -> tuple[Path, Path]:
        """The two directories of an overlay's writable side above `layer`, made where they are missing."""
        base = self.directory / "mount" / "layers" / layer
        _make(base / "upper", USER, 0o755)
        _make(base / "work", USER, 0o755)
        return base / "upper", base / "work"


class Volumes:
    """The volumes of this host. One thread at a time may work on one environment's."""

    def __init__(self, settings: Settings):
        self.directory = settings.data_dir / "volumes"
        self.owner = {"host": settings.host, "prefix": settings.key_prefix}

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
            image = volume.directory / "storage.img"
            if not image.exists():
                _write(volume.directory / "size_mib", str(size_mib))
                _format(image, size_mib)
            if int((volume.directory / "size_mib").read_text()) < size_mib:
                self.close(env_id)
                _grow(image, size_mib)
                _write(volume.directory / "size_mib", str(size_mib))
            if not _mounted(volume):
                (volume.directory / "mount").mkdir(exist_ok=True)
                _run("mount", "-t", "ext4", "-o", MOUNT_OPTIONS, image, volume.directory / "mount")
            _make(volume.home, USER, 0o755)
            _make(volume.workspace, USER, 0o755)
            (volume.directory / "mount" / "layers").mkdir(exist_ok=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise ProvisionError(
                Reason.STORAGE_UNAVAILABLE, f"The host could not make {size_mib} MiB of storage.", _explain(error)
            ) from error
        return volume

    def close(self, env_id: str) -> None:
        """Unmount; the file stays. Fine where nothing is mounted."""
        volume = self.get(env_id)
        while _mounted(volume):
            _run("umount", volume.directory / "mount")

    def fill(self, env_id: str) -> Fill | None:
        """How full it is, None where it is not mounted."""
        mount = self.get(env_id).directory / "mount"
        try:
            if not mount.is_mount():
                return None
            said = os.statvfs(mount)
        except OSError:
            return None  # unmounted this moment
        size, free = said.f_blocks * said.f_frsize, said.f_bfree * said.f_frsize
        return Fill(size - free, size, not said.f_flag & os.ST_RDONLY)

    def remove(self, env_id: str) -> None:
        """Unmount and delete all of it. Fine where there is nothing."""
        self.close(env_id)
        volume = self.get(env_id)
        if volume.directory.exists():
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
        return not owner.exists() or self._ours(owner)

    def all(self) -> list[str]:
        """Environments whose storage lies here under this host's name."""
        return [path.parent.name for path in sorted(self.directory.glob("*/owner.json")) if self._ours(path)]

    def _ours(self, owner: Path) -> bool:
        try:
            return bool(json.loads(owner.read_text()) == self.owner)
        except (OSError, ValueError):
            return False


def _mounted(volume: Volume) -> bool:
    point = str((volume.directory / "mount").absolute())
    return any(line.split(" ")[4] == point for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _grow(image: Path, size_mib: int) -> None:
    """Grow an unmounted file system. (While mounted the kernel wants a right that not every root has.)"""
    deadline = time.monotonic() + RELEASE_SECONDS
    while _attached(image):
        # a container that was being started holds a copy of all mounts for a blink
        if time.monotonic() > deadline:
            raise OSError(f"{image} is still in use after {RELEASE_SECONDS:g} s; try again")
        time.sleep(0.1)
    os.truncate(image, size_mib * MIB)
    _run("e2fsck", "-f", "-p", image, good=(0, 1))  # 1: it mended something
    _run("resize2fs", image)


def _attached(image: Path) -> bool:
    """Whether a loop device still serves the file."""
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # given back this moment
            if backing.read_text().strip() == str(image.absolute()):
                return True
    return False


def _format(image: Path, size_mib: int) -> None:
    half_made = image.with_suffix(".new")
    half_made.unlink(missing_ok=True)
    with half_made.open("xb") as file:
        file.truncate(size_mib * MIB)
    # lazy: the tables are written when they are used; discard would only make holes where holes are
    options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0"
    _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", options, half_made)
    half_made.rename(image)


def _make(path: Path, owner: int, mode: int) -> None:
    if not path.exists():
        path.mkdir(parents=True, mode=mode)
        os.chown(path, owner, owner)


def _write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def _run(*command: str | Path, good: tuple[int, ...] = (0,)) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    if done.returncode not in good:
        raise subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)


def _explain(error: Exception) -> str:
    return f"{error}\n{getattr(error, 'stderr', '') or ''}".strip()
