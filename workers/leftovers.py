"""Leftovers: storage and overlays on this host that no environment needs, which a crash in the middle of an end leaves.

What is found at two looks in a row is removed. Only what carries our labels and this host's name is looked at. Files of
an environment that the ledger does not know at all are an operator's to remove: the ledger may be an old copy.
"""

from __future__ import annotations

import logging
import time

from common.environment import Environment
from common.states import ENDED, State
from workers.member import Member
from workers.runs import Runs

log = logging.getLogger(__name__)

LOOKS_A_GRACE = 0.2  # a look costs two commands for each environment whose files are here, so it is not often


class Leftovers:
    """What is left, looked for now and then."""

    def __init__(self, member: Member, runs: Runs):
        self.member = member
        self.runs = runs
        self._seen: set[str] = set()
        self._due = 0.0

    def remove(self) -> None:
        """Look, where it is time to, and remove what was left at the look before too. Raises DCloudError."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self.member.settings.orphan_grace_seconds / LOOKS_A_GRACE
        host, busy = self.member.host, self.runs.busy()
        candidates = host.traces() - {found.env_id for found in host.containers()} - busy
        known = self.member.ledger.several(candidates)
        left = {env_id for env_id in candidates if env_id in known and self._is_left(known[env_id])}
        for env_id in left & self._seen:
            with self.runs.exclusive(env_id):
                self._remove(env_id)
        self._seen = left

    def _is_left(self, environment: Environment) -> bool:
        if self._keeps_files(environment):
            return environment.state in (State.STOPPED, State.QUEUED) and self.member.host.mounted(environment.id)
        return True

    def _keeps_files(self, environment: Environment) -> bool:
        return environment.state not in ENDED and environment.host == self.member.name

    def _remove(self, env_id: str) -> None:
        environment = self.member.ledger.get(env_id)  # again: now nobody else works on it
        if not self._is_left(environment):
            return
        log.warning("environment %s is %s; what it left here is removed", env_id, environment.state)
        if self._keeps_files(environment):
            self.member.host.stop(env_id)
        else:
            self.member.host.remove(env_id)
