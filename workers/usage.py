"""What a container has used, from the kernel's own files: cgroups of either version, and its network devices.

Reading them costs no call to the engine, so one loop can look at every container of a host.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Counters:
    """What the processes of a container use, and have used since it started."""

    at: float  # monotonic seconds
    cpu_nanoseconds: int
    ram_bytes: int
    pids: int
    oom_kills: int
    received_bytes: int
    sent_bytes: int


class Kernel:
    """The files of this machine's kernel; `proc` is where they are."""

    def __init__(self, proc: Path = Path("/proc")):
        self.proc = proc
        self._mounts = _cgroup_mounts((proc / "self/mountinfo").read_text())

    def counters(self, pid: int) -> Counters:
        """The counters of the container that `pid` is the first process of. Raises OSError where it has ended."""
        groups = self._groups(pid)
        received, sent = _traffic((self.proc / f"{pid}/net/dev").read_text())
        first = _version_1(groups) if "memory" in groups else _version_2(groups[""])
        return Counters(time.monotonic(), *first, received, sent)

    def oom_kills(self, pid: int) -> int:
        """Those of `counters`, 0 where the container has ended."""
        try:
            return self.counters(pid).oom_kills
        except (OSError, KeyError):
            return 0

    def _groups(self, pid: int) -> dict[str, Path]:
        """The directory of each controller; "" is the one of version 2."""
        found = {}
        for line in (self.proc / f"{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                if controller in self._mounts:
                    root, point = self._mounts[controller]
                    found[controller] = point / path.removeprefix(root).lstrip("/")
        return found


def _cgroup_mounts(mountinfo: str) -> dict[str, tuple[str, Path]]:
    """Controller → (root, mount point). A worker in a container sees less than the root of the hierarchy."""
    found = {}
    for line in mountinfo.splitlines():
        words, _, rest = line.partition(" - ")
        root, point = words.split(" ")[3:5]
        kind, _, options = rest.split(" ", 2)
        if kind == "cgroup2":
            found[""] = (root, Path(point))
        elif kind == "cgroup":
            found.update(dict.fromkeys(options.split(","), (root, Path(point))))
    return found


def _version_1(groups: dict[str, Path]) -> tuple[int, int, int, int]:
    memory = groups["memory"]
    used = int((memory / "memory.usage_in_bytes").read_text())
    cached = _named(memory / "memory.stat").get("total_inactive_file", 0)
    return (
        int((groups["cpuacct"] / "cpuacct.usage").read_text()),
        max(used - cached, 0),
        int((groups["pids"] / "pids.current").read_text()),
        _named(memory / "memory.oom_control").get("oom_kill", 0),
    )


def _version_2(group: Path) -> tuple[int, int, int, int]:
    used = int((group / "memory.current").read_text())
    cached = _named(group / "memory.stat").get("inactive_file", 0)
    return (
        _named(group / "cpu.stat")["usage_usec"] * 1000,
        max(used - cached, 0),
        int((group / "pids.current").read_text()),
        _named(group / "memory.events").get("oom_kill", 0),
    )


def _named(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in path.read_text().splitlines())
    return {name: int(value) for name, value in pairs}


def _traffic(text: str) -> tuple[int, int]:
    """Bytes that came in and went out, over all devices but the loopback."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        device, _, rest = line.partition(":")
        if device.strip() != "lo":
            words = rest.split()
            received, sent = received + int(words[0]), sent + int(words[8])
    return received, sent
