"""Pythons that a system does not ship: uv's builds, from their publisher or a mirror of it.

uv checks the hash of what it fetches against the list that it carries, or that the operator names, and
runs nothing of it. A build is made for one directory, which only the container has.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import httpx
import uv

from common.errors import ProvisionError
from common.settings import Settings
from common.states import Reason

PUBLISHER = "https://github.com/astral-sh/python-build-standalone/releases/download"
HOME = "/opt/python"  # where containers see it
TIMEOUT_SECONDS = 1800
PROBE_SECONDS = 3.0

# Files of a build that name the directory it was unpacked in.
_PLACED = ("lib/python3.*/_sysconfigdata*.py", "lib/python3.*/config-*/Makefile", "lib/pkgconfig/*.pc", "bin/*-config")


class Standalone:
    """The builds that this machine can get."""

    def __init__(self, settings: Settings):
        self.mirror = settings.python_mirror or os.environ.get("UV_PYTHON_INSTALL_MIRROR", "")

    def answers(self) -> bool:
        """Whether the place that they come from can be reached now."""
        if self.mirror.startswith("file:"):
            return True
        try:
            httpx.head(self.mirror or PUBLISHER, timeout=PROBE_SECONDS)
        except httpx.HTTPError:
            return False
        return True

    def fetch(self, version: str, scratch: Path, log: Callable[[str], None]) -> Path:
        """The newest build of `version` ("3.12" or "3.12.4") as a tar file in `scratch`. Raises ProvisionError."""
        env = {**os.environ, "UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
        env |= {"UV_CACHE_DIR": str(scratch / "cache"), "UV_PYTHON_DOWNLOADS": "manual"}
        if self.mirror:
            env["UV_PYTHON_INSTALL_MIRROR"] = self.mirror
        command = [
            uv.find_uv_bin(),
            "python",
            "install",
            "--no-bin",
            "--install-dir",
            str(scratch / "pythons"),
            version,
        ]
        done = subprocess.run(
            command, env=env, check=False, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_SECONDS
        )
        for line in done.stderr.splitlines():
            log(line)
        found = sorted((scratch / "pythons").glob("cpython-*"), key=Path.is_symlink)  # the build, then its short name
        if done.returncode != 0 or not found:
            raise _unavailable(version, done.stderr)
        return _packed(found, scratch / "python.tar")


def _packed(names: list[Path], archive: Path) -> Path:
    """The build, known by several names, as a tar of `python/` that root owns, placed at HOME."""
    build = names[0]
    for path in (path for pattern in _PLACED for path in build.glob(pattern)):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            for name in names:
                content = content.replace(str(name).encode(), HOME.encode())
            path.write_bytes(content)

    def of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    with tarfile.open(archive, "w") as tar:
        tar.add(build, arcname=Path(HOME).name, filter=of_root)
    return archive


def _unavailable(version: str, said: str) -> ProvisionError:
    if re.search(r"No download found", said):
        return ProvisionError(
            Reason.IMAGE_UNAVAILABLE, f"There is no build of Python {version}. Ask for another version.", said
        )
    return ProvisionError(
        Reason.IMAGE_UNAVAILABLE,
        f"Python {version} could not be fetched. The build log says why; its operator can set DCLOUD_PYTHON_MIRROR, "
        "or you can ask for the version that the system ships.",
        said,
    )
