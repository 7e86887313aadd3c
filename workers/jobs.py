"""Jobs that this process has claimed and not begun, so that a task need not ask for what is here already."""

from __future__ import annotations

import threading
from collections import OrderedDict

from common.environment import Job

MOST = 1000  # a task that finds its job gone reads it


class Jobs:
    """By id and token: what an allocation is for does not change. Thread safe."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._jobs: OrderedDict[tuple[str, int], Job] = OrderedDict()

    def keep(self, job: Job) -> None:
        """Have it here for its task; the oldest go where there are too many."""
        with self._mutex:
            self._jobs[job.id, job.token] = job
            while len(self._jobs) > MOST:
                self._jobs.popitem(last=False)

    def take(self, env_id: str, token: int) -> Job | None:
        """It, once; None where it is not here."""
        with self._mutex:
            return self._jobs.pop((env_id, token), None)
