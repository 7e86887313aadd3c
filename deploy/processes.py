"""Background processes of this checkout: started, found again and ended by a record under `var/run`.

A record holds the process' start time beside its pid, and the boot it belongs to, so that a pid which the machine has
given to somebody else meanwhile is never taken for ours.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy import host
from deploy.steps import SetupError

LOG_LIMIT_BYTES = 20_000_000  # a log that is larger is set aside when its process is started again
KILL_SECONDS = 10


@dataclass(frozen=True)
class Process:
    """A process that was started, and where its output goes. `started` is in clock ticks after the boot."""

    name: str
    pid: int
    started: int
    boot: str
    root: bool  # it runs as root while we do not
    log: str


class Processes:
    """The background processes whose records lie in one folder."""

    def __init__(self, var: Path):
        self.records = var / "run"
        self.logs = var / "log"
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path, root: Sequence[str] = ()
    ) -> Process:
        """Start a command in a session of its own, output to its log; `root` is what makes it run as root."""
        self.records.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            try:
                child = subprocess.Popen(
                    [*root, *command],
                    env=dict(env),
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise SetupError(f"{name} cannot be started: {command[0]}: {error.strerror}.") from error
        self._children[child.pid] = child
        process = Process(name, child.pid, _started(child.pid) or 0, _boot(), bool(root), str(log))
        (self.records / f"{name}.json").write_text(json.dumps(asdict(process)))
        return process

    def find(self, name: str) -> Process | None:
        """The process of that name if it still runs."""
        try:
            process = Process(**json.loads((self.records / f"{name}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        if process.pid in self._children:
            self._children[process.pid].poll()  # a child that has ended would stay behind as a zombie
        return process if process.boot == _boot() and _started(process.pid) == process.started else None

    def stop(self, name: str, grace_seconds: float = 30) -> bool:
        """End the process of that name: SIGTERM, then SIGKILL to it and its children. Says whether there was one.

        Raises SetupError where that does not end it.
        """
        process = self.find(name)
        if process is not None:
            family = _family(process.pid)
            self._signal(process, process.pid, signal.SIGTERM)
            deadline = time.monotonic() + grace_seconds
            while self.find(name) and time.monotonic() < deadline:
                time.sleep(0.05)
            for pid, started in (family | _family(process.pid)).items():
                if _started(pid) == started:
                    self._signal(process, pid, signal.SIGKILL)
            deadline = time.monotonic() + KILL_SECONDS
            while self.find(name):
                if time.monotonic() > deadline:
                    raise SetupError(f"{name} (pid {process.pid}) cannot be ended. End it, then run this again.")
                time.sleep(0.05)
            if child := self._children.pop(process.pid, None):
                child.wait()  # it may have ended between the look at the child and the look at its number
        (self.records / f"{name}.json").unlink(missing_ok=True)
        return process is not None

    def _signal(self, process: Process, pid: int, number: signal.Signals) -> None:
        if process.root:
            # The shell's own kill: the program of that name is in a package that need not be there.
            kill = [*(host.as_root() or []), "sh", "-c", f"kill -{number.value} {pid}"]
            subprocess.run(kill, capture_output=True, check=False)
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may itself hold spaces; empty where the process is over."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] in "ZX" else fields


def _started(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def _family(leader: int) -> dict[int, int]:
    """The live processes of a leader's session and all that descend from it, each pid with its start time.

    Both, because `sudo` may put its command into another session, and a leader's end orphans its children.
    """
    stats = {int(entry.name): _stat(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    family = {pid for pid, fields in stats.items() if fields and int(fields[3]) == leader}
    while young := {pid for pid, fields in stats.items() if fields and int(fields[1]) in family} - family:
        family |= young
    return {pid: int(stats[pid][19]) for pid in family}
