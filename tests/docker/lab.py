"""Environments on a real host, as the tests of the host side start and question them."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.contract import parse
from common.environment import Job
from common.states import Phase
from workers.provision import Host

DATA = Path(os.environ.get("DCLOUD_TEST_DATA") or Path(__file__).parents[2] / "var" / "test-data").resolve()


@dataclass
class Heard:
    """A report that remembers what it was told."""

    phases: list[tuple[Phase, float, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    started: bool = False
    lock: str = ""
    warnings: list[str] = field(default_factory=list)

    def phase(self, phase: Phase, fraction: float, message: str) -> None:
        assert 0 <= fraction <= 1, (phase, fraction, message)
        self.phases.append((phase, fraction, message))

    def starting(self) -> None:
        self.started = True

    def log(self, line: str) -> None:
        self.lines.append(line)

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def locked(self, lock: str) -> None:
        self.lock = lock


class Lab:
    """A host, and the environments that a test starts on it."""

    def __init__(self, host: Host):
        self.host = host
        self.jobs: dict[str, Job] = {}

    def job(self, *libraries: str, **resources: str) -> Job:
        """A job of its own, small unless told otherwise."""
        wanted = {"ram": "256MiB", "cpu": "0.5", "storage": "200MiB", **resources}
        contract = parse({"env-name": "lab", "language": {"libraries": list(libraries)}, "resources": wanted})
        env_id = f"t{secrets.token_hex(6)}"
        job = Job(id=env_id, name="lab", owner="tester", token=1, attempt=1, contract=contract, gpus=())
        self.jobs[env_id] = job
        return job

    def start(self, *libraries: str, **resources: str) -> Job:
        """A running environment."""
        job = self.job(*libraries, **resources)
        self.host.start(job, Heard())
        return job

    def run(self, job: Job, *command: str) -> tuple[int, str]:
        """Exit code and output of a command in the environment."""
        running = self.host.exec(job.id, command, tty=False)
        try:
            output = b""
            while data := running.read():
                output += data
            code = running.exit_code()
        finally:
            running.close()
        assert code is not None
        return code, output.decode()

    def python(self, job: Job, code: str) -> str:
        """What a Python program in the environment prints; it must succeed."""
        status, output = self.run(job, "python", "-c", code)
        assert status == 0, output
        return output.strip()

    def inspect(self, job: Job) -> dict[str, Any]:
        """The container as `docker inspect` shows it."""
        (found,) = [c for c in self.host.containers() if c.env_id == job.id]
        return self.host.engine.inspect(found.container_id)

    def clear(self) -> None:
        """Remove all that was started."""
        for env_id in list(self.jobs):
            self.host.remove(env_id)
            del self.jobs[env_id]


def again(job: Job, **changes: Any) -> Job:
    """The same environment, claimed again."""
    return replace(job, **{"token": job.token + 1, "attempt": job.attempt + 1, **changes})
