"""How far a download is: what uv announced, and what its builder has received."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from common import units

_ANNOUNCED = re.compile(r"^Downloading (\S+) \(([0-9.]+)(B|KiB|MiB|GiB)\)$")
_FACTORS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class Download:
    """One run of the installer. `received` gives the bytes that came in so far since any moment, rising."""

    def __init__(self, packages: int, received: Callable[[], int]):
        self.packages = packages
        self.fraction = 0.0
        self._received = received
        self._before = received()
        self._announced = 0.0
        self._unpacked = False

    def read(self, line: str) -> None:
        """A line of uv's output. It announces what is larger than a megabyte, and says when all is unpacked."""
        if match := _ANNOUNCED.match(line):
            self._announced += float(match[2]) * _FACTORS[match[3]]
        self._unpacked = self._unpacked or line.startswith(("Prepared ", "Installed "))

    def look(self, unpacked: int) -> str:
        """Set the fraction, which only rises, and say how far it is; `unpacked` packages are done."""
        done = self.packages if self._unpacked else min(max(unpacked, 0), self.packages)
        received = min(self._received() - self._before, self._announced)
        share = received / self._announced if self._announced and not self._unpacked else done / self.packages
        self.fraction = max(self.fraction, min(1.0, share))
        said = f"Installing libraries: {done} of {self.packages}"
        if self._announced and not self._unpacked:
            mib, total_mib = int(received / units.MIB), int(self._announced / units.MIB)
            said += f", {units.human_mib(mib)} of {units.human_mib(total_mib)} downloaded"
        return said


def received_bytes(pid: int) -> int:
    """What the network name space of a process has received, its loopback aside; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    except OSError:
        return 0
    counters = (line.split(":") for line in lines)
    return sum(int(numbers.split()[0]) for name, numbers in counters if name.strip() != "lo")
