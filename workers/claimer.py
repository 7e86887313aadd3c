"""The claimer: a bootstep of the Celery worker that takes from the ledger what fits this host.

It blocks on the host's wake list. Woken, or at the sweep, it claims until nothing fits, which sends
the host's own queue a task for each, and sends one for all else that the ledger says is to be done here.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from typing import Any

import redis
from celery import bootsteps

from common.celery_app import queue_of
from common.errors import DCloudError, Fenced, RedisUnavailable
from common.ledger import client_of
from common.states import State
from workers import metrics, nudges, tasks
from workers.canary import Canary
from workers.endings import Endings
from workers.gpuwatcher import GpuWatcher
from workers.member import Member
from workers.reconciler import Reconciler
from workers.sampler import Sampler
from workers.sessions import Sessions
from workers.watcher import Watcher

log = logging.getLogger(__name__)

CLAIMS = 8  # that are made in one step
RESEND_SECONDS = 20.0  # a task for the same step is sent again after this, unless messages wait to be received

_TASK_FOR = {
    State.CLAIMED: tasks.start_environment,
    State.STOPPING: tasks.stop_environment,
    State.DELETING: tasks.remove_environment,
}


class Claimer:
    """One thread that waits, claims and sends."""

    def __init__(self, member: Member):
        self.member = member
        self.endings = Endings(member)
        self.reconciler = Reconciler(member, tasks.runs, self.endings)
        self.sessions = Sessions(member)
        self.canary = Canary(self._call, self._full, tasks.runs.busy)
        self._nudge = nudges.message(tasks.start_environment, queue_of(member.name))
        self._sent: dict[tuple[str, State, int], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="claimer", daemon=True)

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stop.set()

    def turn(self) -> None:
        """Claim all that fits, then send whatever else is to be done."""
        member = self.member
        full = True
        while full and not self._stop.is_set():
            since = time.monotonic()
            claimed = member.ledger.claim_some(member.name, member.epoch, CLAIMS, self._nudge)
            for job in claimed:
                tasks.jobs.keep(job)
                self._was_sent((job.id, State.CLAIMED, job.token), since)
            metrics.CLAIMS.inc(len(claimed))
            full = len(claimed) == CLAIMS
        self._send_due()

    def _run(self) -> None:
        keys = self.member.ledger.keys
        sweep_seconds = self.member.settings.sweep_seconds
        client = client_of(self.member.settings.redis_url, timeout_seconds=sweep_seconds * 2)
        lists = [keys.wake(self.member.name), keys.control(self.member.name)]
        next_sweep = 0.0
        while not self._stop.is_set():
            try:
                self.canary.look()
                wait = min(next_sweep - time.monotonic(), self.canary.due_in())
                if wait > 0:
                    woken: Any = client.blpop(lists, timeout=wait)
                    if woken and woken[0] == lists[1]:
                        self.sessions.open(woken[1])
                        continue
                if time.monotonic() >= next_sweep:
                    # before the work: one that fails is not tried again at once
                    next_sweep = time.monotonic() + sweep_seconds * random.uniform(0.8, 1.2)  # noqa: S311
                    # the first before any claim: what is being made then is left over
                    if not self.reconciler.sweep():
                        continue
                self.turn()
            except Fenced as error:
                log.critical("%s. This process ends; its containers stay.", error)
                os._exit(70)
            except (RedisUnavailable, redis.RedisError) as error:
                log.warning("the claimer waits for Redis: %s", error)
                self.canary.heard()  # nobody receives anything while it is away
                self._stop.wait(1)
            except DCloudError:
                log.exception("the claimer goes on")
            except Exception:
                log.exception("the claimer goes on")
                self.canary.heard()
                self._stop.wait(1)

    def _send_due(self) -> None:
        now = time.monotonic()
        due = self.member.ledger.todo(self.member.name, self.member.epoch)
        late = {key for key, at in self._sent.items() if now - at >= RESEND_SECONDS}
        if late and not late.isdisjoint(due) and self._backlog():
            # these only wait behind others: one more of each at every look would hold up all the rest
            self._sent |= dict.fromkeys(late.intersection(due), now)
        self._sent = {key: at for key, at in self._sent.items() if now - at < RESEND_SECONDS}
        for env_id, state, token in due:
            self._send(env_id, state, token)

    def _send(self, env_id: str, state: State, token: int) -> None:
        task, key = _TASK_FOR.get(state), (env_id, state, token)
        if task is None or key in self._sent:
            return
        if state is not State.CLAIMED:
            tasks.runs.call_off(env_id)
        since = time.monotonic()
        task.apply_async((env_id, token), queue=queue_of(self.member.name))
        self._was_sent(key, since)

    def _was_sent(self, key: tuple[str, State, int], since: float) -> None:
        self.canary.sent(since)
        self._sent[key] = time.monotonic()

    def _backlog(self) -> bool:
        """Whether messages wait that nobody has received."""
        return self.member.ledger.redis.llen(self.member.ledger.keys.messages(self.member.name)) > 0

    def _call(self) -> None:
        tasks.nothing.apply_async(queue=queue_of(self.member.name))

    def _full(self) -> bool:
        return len(tasks.runs.busy()) >= self.member.settings.worker_threads


class ClaimerStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts the claimer when the pool runs, and stops it first."""

    requires = ("celery.worker.components:Pool",)
    member: Member

    def __init__(self, parent: Any, **options: Any):
        super().__init__(parent, **options)
        self.claimer: Claimer | None = None

    def start(self, parent: Any) -> None:
        self.claimer = Claimer(self.member)
        sampler = Sampler(self.member, self.claimer.endings)
        self.member.start_heartbeat()
        self.claimer.start()
        sampler.start()
        Watcher(self.member, self.claimer.endings, sampler).start()
        GpuWatcher(self.member, sampler).start()

    def stop(self, parent: Any) -> None:
        if self.claimer:
            self.claimer.stop()
        self.member.leave()
