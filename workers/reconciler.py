"""The reconciler: what runs on this host against what the ledger says, at start and at every sweep.

Only containers with our labels and this host's name are looked at; nobody else's are touched.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from common.errors import IllegalTransition, NotFound, StaleToken
from common.states import Reason, State
from workers.endings import Endings
from workers.leftovers import Leftovers
from workers.member import Member
from workers.runs import Runs

if TYPE_CHECKING:
    from workers.containers import Found

log = logging.getLogger(__name__)


class Reconciler:
    """Compares, and mends what differs."""

    def __init__(self, member: Member, runs: Runs, endings: Endings):
        self.member = member
        self.runs = runs
        self.endings = endings
        self.leftovers = Leftovers(member, runs)
        self._unworked: set[str] | None = None  # before the first sweep

    def sweep(self) -> bool:
        """One comparison; and whatever time has ended in the ledger. Whether there may be something to do now."""
        member = self.member
        busy = self.runs.busy()
        found = {container.env_id: container for container in member.host.containers()}
        running = {env_id: c.token for env_id, c in found.items() if c.running}
        difference = member.reconcile(running)
        missing = set(difference.missing) - busy
        if missing:  # or it was started while the engine listed: what is still missing has ended
            found = {container.env_id: container for container in member.host.containers()}
        for env_id in missing:
            if not self._runs(found.get(env_id)):
                self.endings.ended(env_id, 0, partial(found.get, env_id))
        self._take_up_unworked(set(difference.making) - busy, found)
        self._remove_orphans(found)
        self.leftovers.remove()
        ended = member.ledger.expire(interval_seconds=member.settings.sweep_seconds / 4)
        member.host.tend()
        return ended > 0 or bool(difference.waiting or difference.missing or difference.making or difference.due)

    def _runs(self, container: Found | None) -> bool:
        """Whether a container is there for its environment after all."""
        if container is None or not container.running:
            return False
        with suppress(NotFound):
            return self.member.ledger.job(container.env_id).token == container.token
        return False

    def _take_up_unworked(self, unworked: set[str], found: dict[str, Found]) -> None:
        """What no thread works on at two sweeps in a row was forgotten, by a Redis that was away for instance.

        At the first sweep nothing is under way, so all of it is what an earlier process left. What that one started
        and did not tell of runs; the rest waits again.
        """
        member = self.member
        for env_id in unworked if self._unworked is None else unworked & self._unworked:
            try:
                job, state = member.ledger.job(env_id), member.ledger.get(env_id).state
                container = found.get(env_id)
                if state is State.STARTING and container and container.running and container.token == job.token:
                    member.advance(job, State.RUNNING, 100, "Running")
                    self.endings.seen(job, container.container_id)
                    continue
                with self.runs.exclusive(env_id):
                    if job.has_storage:
                        member.host.stop(env_id)
                    else:
                        member.host.remove(env_id)
                    member.ledger.give_back(member.name, member.epoch, env_id, job.token, Reason.WORKER_RESTARTED)
            except (StaleToken, IllegalTransition, NotFound):
                continue
        self._unworked = unworked

    def _remove_orphans(self, found: dict[str, Found]) -> None:
        member = self.member
        for env_id, container in found.items():
            if time.time() - container.created_at < member.settings.orphan_grace_seconds or env_id in self.runs.busy():
                continue
            try:
                environment = member.ledger.get(env_id)
                if environment.host == member.name and environment.token == container.token:
                    continue
                keeps_storage = environment.host == member.name and environment.state not in (
                    State.FAILED,
                    State.DELETED,
                )
            except NotFound:
                keeps_storage = True  # a ledger restored from an old copy: the files are an operator's to remove
            log.warning("container %s of environment %s has no allocation here: removed", container.name, env_id)
            with self.runs.exclusive(env_id):
                if keeps_storage:
                    member.host.stop(env_id)
                else:
                    member.host.remove(env_id)
