"""Loop storage: a file of the size asked for with an ext4 file system, mounted by a loop device.

In a volume's directory:
    storage.img   the file system; sparse, so that only what is used takes room
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from common.units import MIB
from workers.mounts import run

MOUNT_OPTIONS = "loop,nosuid,nodev,noatime"
RELEASE_SECONDS = 20.0
ASKS = 4  # e2fsck's status where it would ask a person, about a growth that a power cut ended for instance


class LoopStorage:
    """As `volumes.Storage` says. Serves on any file system."""

    name = "loop"
    seccomp = ""

    def missing(self) -> str:
        """See Storage."""
        if Path("/dev/loop-control").exists() and shutil.which("mkfs.ext4"):
            return ""
        return "Loop devices or e2fsprogs are missing."

    def holds(self, directory: Path) -> bool:
        """See Storage."""
        return (directory / "storage.img").exists()

    def make(self, directory: Path, size_mib: int) -> None:
        """See Storage."""
        half_made = directory / "storage.new"
        half_made.unlink(missing_ok=True)
        with half_made.open("xb") as file:
            file.truncate(size_mib * MIB)
        # lazy: the tables are written when they are used; discard would only make holes where holes are
        options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0"
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", options, half_made)
        half_made.rename(directory / "storage.img")

    def grow(self, directory: Path, size_mib: int) -> None:
        """See Storage. (While mounted the kernel wants a right that not every root has.)"""
        image = directory / "storage.img"
        deadline = time.monotonic() + RELEASE_SECONDS
        while _attached(image):
            # a container that was being started holds a copy of all mounts for a blink
            if time.monotonic() > deadline:
                raise OSError(f"{image} is still in use after {RELEASE_SECONDS:g} s; try again")
            time.sleep(0.1)
        os.truncate(image, max(size_mib * MIB, image.stat().st_size))
        _mend(image)
        run("resize2fs", image)

    def mount(self, directory: Path) -> None:
        """See Storage."""
        run("mount", "-t", "ext4", "-o", MOUNT_OPTIONS, directory / "storage.img", directory / "mount")

    def delete(self, directory: Path) -> None:
        """See Storage."""
        (directory / "storage.img").unlink(missing_ok=True)

    def taken_bytes(self, directory: Path) -> int:
        """See Storage."""
        return (directory / "storage.img").stat().st_blocks * 512


def _mend(image: Path) -> None:
    """Let e2fsck mend what may be wrong; 1 is its status where it did."""
    try:
        run("e2fsck", "-f", "-p", image, good=(0, 1))
    except subprocess.CalledProcessError as error:
        if error.returncode != ASKS:
            raise
        run("e2fsck", "-f", "-y", image, good=(0, 1))


def _attached(image: Path) -> bool:
    """Whether a loop device still serves the file."""
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # given back this moment
            if backing.read_text().strip() == str(image.absolute()):
                return True
    return False
