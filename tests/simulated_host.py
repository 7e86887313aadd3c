"""A host without an engine: it claims through the real ledger, tells progress, and runs a few programs right here.

What becomes of an environment is written in its contract: a library `nosuchlib` cannot be installed, `slow`
takes until `go_on` is set, and with `chatty` its container writes more then.
"""

from __future__ import annotations

import json
import subprocess
import threading
from typing import Any

from redis import Redis

from common.buildlog import BuildLog
from common.channel import BLOCK_SECONDS, WorkerEnd
from common.environment import Job
from common.errors import ChannelClosed, DCloudError
from common.inventory import Gpu, Inventory, Offer
from common.ledger import Ledger, client_of
from common.locks import Locks
from common.states import Phase, State
from workers.checks import Checked

INVENTORY = Inventory(
    8000, 16_000, 100_000, (Gpu("GPU-1", "NVIDIA H200", 143_771),), driver="580.1", cuda="13.0", machine="m",
    offers=(Offer("debian", "12", "python", ("3.11",), "Debian 12 (bookworm)", ("", "slim")),),
)  # fmt: skip

# What it runs: nothing that changes the machine, whatever it is told to do with it. All others are not there.
PROGRAMS = frozenset({"cat", "echo", "ls", "seq"})
SHELL = "sh"  # for tests that say themselves what it does

LOCK = f"six==1.17.0 --hash=sha256:{'a' * 64}\n"


class SimulatedHost:
    """Works in threads until `stop`."""

    def __init__(self, url: str, prefix: str = "dcloud", name: str = "sim"):
        self.name = name
        self.programs = PROGRAMS | {SHELL}
        self.go_on = threading.Event()
        self._deaf, self._is_deaf = threading.Event(), threading.Event()
        self._ledger = Ledger(client_of(url), prefix)
        self._bytes: Redis = client_of(url, decode=False)
        self._log = BuildLog(self._ledger.redis, self._ledger.keys)
        self._locks = Locks(self._ledger.redis, self._ledger.keys)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._ledger.load()
        self._epoch = self._ledger.register(self.name, "instance", 40, INVENTORY)
        for target in (self._claim, self._serve):
            self._begin(target)

    def stop(self) -> None:
        self._over.set()
        self.go_on.set()
        for thread in self._threads:
            thread.join(10)
        self._ledger.redis.close()
        self._bytes.close()

    def warn(self, env_id: str, reason: str, message: str) -> None:
        """Say that something is wrong with what runs."""
        token = self._ledger.get(env_id).token
        self._ledger.notice(self.name, self._epoch, env_id, token, reason, message)

    def become_deaf(self) -> None:
        """Take no more requests for commands and logs."""
        self._deaf.set()
        self._is_deaf.wait(10)

    def _begin(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _claim(self) -> None:
        while not self._over.wait(0.02):
            if job := self._ledger.claim(self.name, self._epoch):
                self._begin(self._make, job)
            for env_id, state, token, *_ in self._ledger.todo(self.name, self._epoch):
                if state in (State.DELETING, State.STOPPING):
                    after = State.DELETED if state is State.DELETING else State.STOPPED
                    self._ledger.release(
                        self.name, self._epoch, env_id, token, after, reason="user_request", message=""
                    )

    def _make(self, job: Job) -> None:
        host, libraries = (self.name, self._epoch), job.contract.libraries
        try:
            self._ledger.advance(*host, job, State.BUILDING, progress=5, message="Preparing")
            for percent in (10, 40, 60):
                phase = Phase.IMAGE if percent < 40 else Phase.LIBRARIES
                self._ledger.progress(*host, job, phase, percent, f"{percent} of 60")
                self._log.append(job.id, [f"line {percent}"])
            self._ledger.progress(*host, job, Phase.LIBRARIES, 60, "still within one percent")
            if "slow" in libraries:
                self.go_on.wait(20)
            if "nosuchlib" in libraries:
                self._log.append(job.id, ["nosuchlib was not found"])
                self._ledger.release(
                    *host, job.id, job.token, State.FAILED, reason="libraries_unresolvable",
                    message="Because nosuchlib was not found\nwe conclude that it cannot be installed.",
                )  # fmt: skip
                return
            self._locks.put(job.id, job.contract.lock or LOCK)
            self._ledger.advance(*host, job, State.STARTING, progress=90, message="Starting")
            self._ledger.advance(*host, job, State.RUNNING, progress=100, message="Running")
        except DCloudError:
            return  # deleted meanwhile

    def _serve(self) -> None:
        while not self._over.is_set() and not self._deaf.is_set():
            reply = self._bytes.blpop([self._ledger.keys.control(self.name)], timeout=0.2)
            end = WorkerEnd.of(self._bytes, self._ledger.keys, reply[1]) if reply else None
            if end is not None:
                self._begin(self._session, end)
        self._is_deaf.set()

    def _session(self, end: WorkerEnd) -> None:
        try:
            end.opened()
            if end.request["op"] == "check":
                end.send(json.dumps(self._checked(end)).encode())
                end.exit(0)
                return
            if end.request["op"] == "logs":
                self._container_log(end)
                return
            self._command(end)
        except ChannelClosed:
            return

    def _container_log(self, end: WorkerEnd) -> None:
        """Followed, it ends with its container, as the engine's does."""
        request = end.request

        def write(stamp: str, line: bytes) -> None:
            if stamp > request["since"]:
                end.send(f"{stamp} ".encode() + line if request["timestamps"] else line)

        write("2026-01-01T00:00:01.000000000Z", b"hello from the container\n")
        if "chatty" in self._ledger.get(request["env"]).contract.libraries:
            while not self.go_on.wait(0.1):
                end.receive(0.01)
            write("2026-01-01T00:00:02.000000000Z", b"\x1b[31mmore\x1b[0m from <b>it</b>\n")
        while request["follow"] and self._ledger.get(request["env"]).state is State.RUNNING and not self._over.is_set():
            end.receive(0.1)
        end.exit(0)

    def _checked(self, end: WorkerEnd) -> dict[str, Any]:
        libraries = end.request["contract"]["libraries"]
        while "slow" in libraries and not self.go_on.wait(0.1):
            end.receive(0.01)
        if "nosuchlib" in libraries:
            return Checked("conflict", "Because nosuchlib was not found").to_dict()
        names = tuple(f"{library}==1.0" for library in libraries)
        return Checked("ok", "They would be installed.", names, download_bytes=5_000_000).to_dict()

    def _command(self, end: WorkerEnd) -> None:
        command = end.request["command"]
        if command[0] not in self.programs:
            end.exit(127)  # as a shell has it
            return
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._begin(self._input, end, process)
        try:
            while data := process.stdout.read(4096):
                end.send(data)
            end.exit(process.wait())
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def _input(self, end: WorkerEnd, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        try:
            while process.poll() is None and not self._over.is_set():
                for given in end.receive(BLOCK_SECONDS):
                    if given.kind == "in" and given.data:
                        process.stdin.write(given.data)
                    elif given.kind == "in":
                        process.stdin.close()
                    elif given.kind == "resize":
                        end.send(f"{given.rows}x{given.cols}\n".encode())
        except (ChannelClosed, OSError):
            process.kill()
        finally:
            process.stdin.close()
