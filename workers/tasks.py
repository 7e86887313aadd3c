"""The tasks of a host, which Flower shows: start, stop and remove an environment.

Each may arrive never, late or twice. The ledger says what is to be done; a task that is not what the
ledger says does nothing.
"""

from __future__ import annotations

import logging
import time

from common.buildlog import BuildLog
from common.celery_app import celery
from common.environment import Job
from common.errors import IllegalTransition, LedgerError, NotFound, ProvisionError, StaleToken
from common.locks import Locks
from common.states import PROGRESS, SENTENCES, Phase, Reason, State
from workers.member import Member
from workers.runs import Runs

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.25  # a step of the bar at most this often

# of these somebody has said more than their sentence
ENDED_BY_ITSELF = frozenset({Reason.CONTAINER_EXITED, Reason.OUT_OF_MEMORY, Reason.CONTAINER_LOST})

runs = Runs()
_members: list[Member] = []


def serve(member: Member) -> None:
    """Let the tasks of this process work as `member`."""
    _members[:] = [member]


def host_name() -> str:
    """The host that the tasks of this process work for."""
    return _members[0].name


@celery.task(name="start_environment")
def start_environment(env_id: str, token: int) -> str:
    """Make and start a claimed environment. Returns what came of it, for Flower."""
    member = _members[0]
    with runs.exclusive(env_id), runs.making(env_id, token):
        try:
            job = member.ledger.job(env_id)
            if job.token != token:
                return "superseded"
            member.advance(job, State.BUILDING, PROGRESS[Phase.IMAGE][0], "Looking for the base image")
        except LedgerError as error:
            return f"nothing to do: {error}"
        return _make(member, job)


@celery.task(name="stop_environment")
def stop_environment(env_id: str, token: int) -> str:
    """Stop the container of an environment and keep its storage."""
    member = _members[0]
    with runs.exclusive(env_id):
        try:
            environment = member.ledger.get(env_id)
            if environment.state is not State.STOPPING or environment.token != token:
                return "nothing to do"
            member.host.stop(env_id)
            reason = Reason(environment.reason)
            message = environment.message if reason in ENDED_BY_ITSELF else SENTENCES[reason]
            member.release(env_id, token, State.STOPPED, reason, message)
        except LedgerError as error:
            return f"nothing to do: {error}"
    return "stopped"


@celery.task(name="remove_environment")
def remove_environment(env_id: str, token: int) -> str:
    """Remove all that an environment has on this host."""
    member = _members[0]
    with runs.exclusive(env_id):
        try:
            environment = member.ledger.get(env_id)
            if environment.state is not State.DELETING or environment.token != token:
                return "nothing to do"
            member.host.remove(env_id)
            Locks(member.ledger.redis, member.ledger.keys).remove(env_id)
            member.release(env_id, token, State.DELETED, Reason.USER_REQUEST, "Deleted")
        except LedgerError as error:
            return f"nothing to do: {error}"
    return "removed"


@celery.task(name="nothing")
def nothing() -> None:
    """A message that only wakes the consumer."""


class _Report:
    """Carries the steps of the making to the ledger and the build log."""

    def __init__(self, member: Member, job: Job):
        self.member = member
        self.job = job
        self.build_log = BuildLog(member.ledger.redis, member.ledger.keys)
        self.locks = Locks(member.ledger.redis, member.ledger.keys)
        self._said: tuple[Phase | None, float] = (None, 0.0)

    def phase(self, phase: Phase, fraction: float, message: str) -> None:
        self._check()
        said_phase, said_at = self._said
        if phase is said_phase and fraction < 1 and time.monotonic() - said_at < PROGRESS_SECONDS:
            return
        low, high = PROGRESS[phase]
        self.member.progress(self.job, phase, round(low + (high - low) * min(max(fraction, 0.0), 1.0)), message)
        self._said = (phase, time.monotonic())

    def starting(self) -> None:
        self._check()
        self.member.advance(self.job, State.STARTING, PROGRESS[Phase.START][0], "Starting the container")

    def log(self, line: str) -> None:
        self._check()
        self.build_log.append(self.job.id, [line])

    def warn(self, sentence: str) -> None:
        self._check()
        self.build_log.append(self.job.id, [f"Warning: {sentence}"])
        phase = self._said[0] or Phase.LIBRARIES
        self.member.progress(
            self.job, phase, PROGRESS[phase][0], sentence
        )  # into the history; the bar does not go back

    def locked(self, lock: str) -> None:
        self.locks.put(self.job.id, lock)

    def _check(self) -> None:
        if runs.called_off(self.job.id, self.job.token):
            raise StaleToken("It was called off.")


def _make(member: Member, job: Job) -> str:
    report = _Report(member, job)
    began = time.monotonic()
    try:
        member.host.start(job, report)
        member.advance(job, State.RUNNING, 100, "Running")
    except (StaleToken, IllegalTransition, NotFound) as error:
        _leave(member, job)
        return f"called off: {error}"
    except ProvisionError as error:
        if error.detail:
            report.build_log.append(job.id, error.detail.splitlines())
        return _fail(member, job, Reason(error.reason), str(error))
    except Exception as error:
        log.exception("environment %s could not be made", job.id)
        return _fail(member, job, Reason.INTERNAL, f"{type(error).__name__} in the worker of {member.name}")
    return f"running after {time.monotonic() - began:.2f} s"


def _fail(member: Member, job: Job, reason: Reason, message: str) -> str:
    """Nothing is left on the host but what a user may have in storage that existed before."""
    log.warning("environment %s failed: %s: %s", job.id, reason, message)
    try:
        if job.has_storage:
            member.host.stop(job.id)
            member.advance(job, State.STOPPING, 0, message, reason)
            member.release(job.id, job.token, State.STOPPED, reason, message)
        else:
            member.host.remove(job.id)
            member.release(job.id, job.token, State.FAILED, reason, message)
    except LedgerError as error:
        return f"called off: {error}"
    return f"failed: {reason}"


def _leave(member: Member, job: Job) -> None:
    """The environment is no longer this host's to make: keep only storage that existed before.

    Where it is being deleted the remove task follows; that finds nothing and says so to the ledger.
    """
    if job.has_storage:
        member.host.stop(job.id)
    else:
        member.host.remove(job.id)
