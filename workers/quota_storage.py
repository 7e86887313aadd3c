"""Quota storage: a directory that is a project of XFS, with a limit on its blocks and inodes, mounted on itself.

In a volume's directory:
    project       the project's number; `project.new` until its limit is set
    tree/         the files

The owner of a file may give it another project, and so leave the limit or spend somebody else's: the kernel
forbids that only in user name spaces of one's own. So this kind needs a seccomp profile that forbids it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from common.settings import Settings
from common.units import MIB
from workers import seccomp
from workers.mounts import file_system_of, run

MOUNT_OPTIONS = "bind,nosuid,nodev,noatime"
INODES_A_MIB = 64  # as ext4 has them by default: empty files take room as well
ON = {"prjquota", "pquota"}


class QuotaStorage:
    """As `volumes.Storage` says. Serves where the data directory is on XFS with project quotas on."""

    name = "quota"

    def __init__(self, settings: Settings):
        self.data_dir = settings.data_dir
        self.profile = Path(settings.seccomp_profile)

    @property
    def seccomp(self) -> str:
        """See Storage."""
        return seccomp.narrowed(self.profile.read_text())

    def missing(self) -> str:
        """See Storage."""
        point, kind, options = file_system_of(self.data_dir)
        if kind != "xfs" or not options & ON:
            return f"{point} is not XFS that is mounted with prjquota."
        if not shutil.which("xfs_quota"):
            return "xfs_quota is missing: apt-get install xfsprogs."
        try:
            seccomp.narrowed(self.profile.read_text())
        except (OSError, ValueError) as error:
            return (
                f"XFS project quotas need a seccomp profile ({error}): "
                "apt-get install golang-github-containers-common, or set DCLOUD_SECCOMP_PROFILE."
            )
        return ""

    def holds(self, directory: Path) -> bool:
        """See Storage."""
        return (directory / "project").exists()

    def make(self, directory: Path, size_mib: int) -> None:
        """See Storage."""
        begun = directory / "project.new"
        if not begun.exists():
            _write(begun, self._free_number())
        tree = directory / "tree"
        tree.mkdir(exist_ok=True, mode=0o755)
        self._quota(f"project -s -p {tree.absolute()} {begun.read_text()}")
        self._limit(begun.read_text(), size_mib * MIB, size_mib * INODES_A_MIB)
        begun.rename(directory / "project")

    def grow(self, directory: Path, size_mib: int) -> None:
        """See Storage."""
        self._limit((directory / "project").read_text(), size_mib * MIB, size_mib * INODES_A_MIB)

    def mount(self, directory: Path) -> None:
        """See Storage."""
        run("mount", "-o", MOUNT_OPTIONS, directory / "tree", directory / "mount")

    def delete(self, directory: Path) -> None:
        """See Storage."""
        with suppress(FileNotFoundError):
            shutil.rmtree(directory / "tree")
        for project in (directory / "project.new", directory / "project"):
            if project.exists():
                self._limit(project.read_text(), 0, 0)  # none
                project.unlink()

    def taken_bytes(self, directory: Path) -> int:
        """See Storage."""
        try:
            said = os.statvfs(directory / "tree")  # of a project's directory it tells of the project
        except FileNotFoundError:
            return 0
        return (said.f_blocks - said.f_bfree) * said.f_frsize

    def _free_number(self) -> str:
        """A project that nothing is counted under and no limit is set for."""
        lines = self._quota("report -p -n -N -b").splitlines()
        used = {int(words[0].lstrip("#")) for line in lines if (words := line.split())}
        while (number := 2**30 + secrets.randbelow(2**31)) in used:
            pass
        return str(number)

    def _limit(self, number: str, size_bytes: int, inodes: int) -> None:
        self._quota(f"limit -p bhard={size_bytes} ihard={inodes} {number}")

    def _quota(self, command: str) -> str:
        point, _, _ = file_system_of(self.data_dir)
        # without the machine's own lists of projects: those are an operator's
        return run("xfs_quota", "-x", "-D", "/dev/null", "-P", "/dev/null", "-c", command, point)


def _write(path: Path, text: str) -> None:
    half = path.with_suffix(".half")
    half.write_text(text)
    half.rename(path)
