"""How far the making of an environment is, told to the ledger and the build log. Waits while Redis is away."""

from __future__ import annotations

import time

from common.buildlog import BuildLog
from common.environment import Job
from common.errors import StaleToken
from common.locks import Locks
from common.states import PROGRESS, Phase, State
from workers.member import Member
from workers.metrics import Stopwatch
from workers.runs import Runs

PROGRESS_SECONDS = 0.25  # a step of the bar at most this often


class Reporter:
    """Carries the steps of the making to the ledger and the build log."""

    def __init__(self, member: Member, job: Job, runs: Runs):
        self.member = member
        self.job = job
        self.runs = runs
        self.build_log = BuildLog(member.ledger.redis, member.ledger.keys)
        self.locks = Locks(member.ledger.redis, member.ledger.keys)
        self.watch = Stopwatch()
        self._said: tuple[Phase | None, float] = (None, 0.0)
        self._logged: set[str] = set()

    def phase(self, phase: Phase, fraction: float, message: str) -> None:
        self._check()
        self.watch.enter(phase)
        said_phase, said_at = self._said
        if phase is said_phase and time.monotonic() - said_at < PROGRESS_SECONDS:
            return  # its end too: what follows tells more
        low, high = PROGRESS[phase]
        self.member.progress(self.job, phase, round(low + (high - low) * min(max(fraction, 0.0), 1.0)), message)
        self._said = (phase, time.monotonic())

    def starting(self) -> None:
        self._check()
        self.watch.enter(Phase.START)
        self.member.advance(self.job, State.STARTING, PROGRESS[Phase.START][0], "Starting the container")

    def log(self, line: str) -> None:
        self._check()
        self.member.patiently(lambda: self.build_log.append(self.job.id, [line]))
        self._logged.add(line)

    def warn(self, sentence: str) -> None:
        self.log(f"Warning: {sentence}")
        phase = self._said[0] or Phase.LIBRARIES
        # into the history; the bar does not go back
        self.member.progress(self.job, phase, PROGRESS[phase][0], sentence)

    def locked(self, lock: str) -> None:
        self.member.patiently(lambda: self.locks.put(self.job.id, lock))

    def explain(self, detail: str) -> None:
        """What the log does not have yet of the words that explain a failure."""
        lines = [line for line in detail.splitlines() if line not in self._logged]
        self.member.patiently(lambda: self.build_log.append(self.job.id, lines))

    def _check(self) -> None:
        if self.runs.called_off(self.job.id, self.job.token):
            raise StaleToken("It was called off.")
