"""What a container really has. `make run` runs this text inside one; only the standard library is there for sure."""

import importlib.metadata
import json
import os
import platform
import shutil
import sys
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cgroup(version_2: str, version_1: str) -> str:
    """A limit of this container, from whichever of the two cgroup versions the host has."""
    for name in (version_2, version_1):
        if (CGROUP / name).is_file():
            return (CGROUP / name).read_text().strip()
    return ""


def cpus() -> float:
    """Cores that may be used at a time; 0 where there is no limit."""
    quota, _, period = cgroup("cpu.max", "cpu/cpu.cfs_quota_us").partition(" ")
    if quota in ("", "max", "-1"):
        return 0
    return int(quota) / int(period or cgroup("cpu.max", "cpu/cpu.cfs_period_us"))


memory = cgroup("memory.max", "memory/memory.limit_in_bytes")
facts = {
    "python": platform.python_version(),
    "os": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
    "user": os.getuid(),
    "libraries": {name: importlib.metadata.version(name) for name in sys.argv[1:]},
    "memory_bytes": int(memory) if memory.isdigit() else 0,
    "cpus": cpus(),
    "storage_bytes": shutil.disk_usage(Path.cwd()).total,
}
print(json.dumps(facts))
