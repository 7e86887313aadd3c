"""Which tests stay together where two processes share a run."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

MACHINE = ("docker", "faults", "browser", "acceptance")  # tiers that measure, stop or count what the machine has once


class Lanes(LoadScopeScheduling):
    """One process has all that uses the engine or a browser, and mostly waits for it; the other takes file by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "machine" if file.split("/")[1] in MACHINE else file
