"""The tasks of a host, which Flower shows: start, stop and remove an environment.

Each may arrive never, late or twice. The ledger says what is to be done; a task that is not what the
ledger says does nothing.
"""

from __future__ import annotations

import logging
import time

from common import logs
from common.celery_app import celery, queue_of
from common.environment import Job
from common.errors import IllegalTransition, LedgerError, NotFound, ProvisionError, RedisUnavailable, StaleToken
from common.locks import Locks
from common.states import PROGRESS, SENTENCES, Phase, Reason, State
from workers import metrics
from workers.endings import Endings
from workers.engine import EngineError
from workers.jobs import Jobs
from workers.member import Member
from workers.reporter import Reporter
from workers.runs import Runs

log = logging.getLogger(__name__)

# of these somebody has said more than their sentence
ENDED_BY_ITSELF = frozenset({Reason.CONTAINER_EXITED, Reason.OUT_OF_MEMORY, Reason.CONTAINER_LOST})

runs = Runs()
jobs = Jobs()
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
            job = jobs.take(env_id, token) or member.ledger.job(env_id)
            if job.token != token:
                return "superseded"
            member.advance(job, State.BUILDING, PROGRESS[Phase.IMAGE][0], "Looking for the base image")
        except LedgerError as error:
            return f"nothing to do: {error}"
        with logs.about(environment=env_id, request=job.origin):
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
            member.patiently(lambda: Locks(member.ledger.redis, member.ledger.keys).remove(env_id))
            member.release(env_id, token, State.DELETED, Reason.USER_REQUEST, "Deleted")
        except LedgerError as error:
            return f"nothing to do: {error}"
    return "removed"


@celery.task(name="nothing")
def nothing() -> None:
    """A message that only wakes the consumer."""


def _make(member: Member, job: Job) -> str:
    report = Reporter(member, job, runs)
    began = time.monotonic()
    try:
        container_id = member.host.start(job, report)
        member.advance(job, State.RUNNING, 100, "Running")
        report.watch.enter(None)
        metrics.RUNNING.inc()
        _see_it_live(member, job, container_id)
    except (StaleToken, IllegalTransition, NotFound) as error:
        _leave(member, job)
        return f"called off: {error}"
    except ProvisionError as error:
        report.explain(error.detail)
        return _fail(member, job, Reason(error.reason), str(error))
    except Exception as error:
        log.exception("environment %s could not be made", job.id)
        return _fail(member, job, Reason.INTERNAL, f"{type(error).__name__} in the worker of {member.name}")
    log.info("environment %s runs after %.2f s", job.id, time.monotonic() - began)
    return f"running after {time.monotonic() - began:.2f} s"


def _see_it_live(member: Member, job: Job, container_id: str) -> None:
    try:
        if Endings(member).seen(job, container_id):
            stop_environment.apply_async((job.id, job.token), queue=queue_of(member.name))
    except (EngineError, RedisUnavailable) as error:
        log.warning("the reconciler will find it: %s", error)


def _fail(member: Member, job: Job, reason: Reason, message: str) -> str:
    """Nothing is left on the host but what a user may have in storage that existed before."""
    metrics.FAILURES.labels(reason).inc()
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
