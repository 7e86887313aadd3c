"""How a container ended: three facts that are kept apart, and the reason that follows from them.

The engine tells of an `oom` event; the container has an exit code; its cgroup counted processes that the kernel
killed for want of RAM. A killed process is not yet the end: most often the container lives on without it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from common.environment import Job
from common.errors import IllegalTransition, NotFound, StaleToken
from common.states import SENTENCES, Reason, State
from workers.containers import Found
from workers.member import Member

log = logging.getLogger(__name__)

KILLED = 137  # exit code of what was ended by SIGKILL
OOM_SECONDS = 10.0  # an end so soon after the kernel ran out of RAM comes of that
KNOWN = 2000  # containers


@dataclass(frozen=True)
class Facts:
    """What is known of a container's RAM."""

    oom_kills: int = 0  # as its cgroup counted at the last look
    oom_at: float | None = None  # monotonic seconds of the engine's last event, or of a count that rose

    def recent(self, now: float) -> bool:
        """Whether it ran out of RAM just now."""
        return self.oom_at is not None and now - self.oom_at < OOM_SECONDS


class Endings:
    """Notes the facts while containers live, and tells the ledger when one has ended."""

    def __init__(self, member: Member):
        self.member = member
        self._facts: dict[str, Facts] = {}
        self._mutex = threading.Lock()

    def oom(self, container_id: str) -> None:
        """The engine said that the container ran out of RAM."""
        with self._mutex:
            self._note(container_id, replace(self._facts.get(container_id, Facts()), oom_at=time.monotonic()))

    def counted(self, container_id: str, oom_kills: int) -> bool:
        """The cgroup's counter at a look; whether it has risen since the one before."""
        with self._mutex:
            known = self._facts.get(container_id)
            risen = oom_kills > (known.oom_kills if known else 0)
            facts = known or Facts()
            self._note(container_id, Facts(oom_kills, time.monotonic() if known and risen else facts.oom_at))
            return risen

    def ended(self, env_id: str, token: int, look: Callable[[], Found | None]) -> int:
        """A running environment has no running container: its user may start it again.

        `look` gives what is left of it. Gives the token under which it is to be stopped, 0 where nothing is to be
        done: it is being made, stopped or removed, and whoever does that sees the container's end.
        """
        try:
            environment = self.member.ledger.get(env_id)
            if environment.state is not State.RUNNING or token not in (0, environment.token):
                return 0
            reason, message = self._why(look())
            log.warning("environment %s: %s: %s", env_id, reason, message)
            job = self.member.ledger.job(env_id)
            self.member.advance(job, State.STOPPING, 0, message, reason)
        except (StaleToken, IllegalTransition, NotFound):
            return 0
        return job.token

    def seen(self, job: Job, container_id: str) -> int:
        """`ended` where the container has ended before the ledger called it running: nobody could tell of that yet."""
        found = self.member.host.container(container_id)
        if found and found.running:
            return 0
        return self.ended(job.id, job.token, lambda: found)

    def _why(self, container: Found | None) -> tuple[Reason, str]:
        if container is None or container.exit_code is None:
            return Reason.CONTAINER_LOST, SENTENCES[Reason.CONTAINER_LOST]
        with self._mutex:
            facts = self._facts.pop(container.container_id, None)
        return why(container.exit_code, facts, container.oom_killed, time.monotonic())

    def _note(self, container_id: str, facts: Facts) -> None:
        self._facts[container_id] = facts
        if len(self._facts) > KNOWN:
            del self._facts[next(iter(self._facts))]


def why(exit_code: int, facts: Facts | None, engines_word: bool, now: float) -> tuple[Reason, str]:
    """The reason of an end, and a sentence with the facts.

    The engine's own word stays true once any process was killed, so it counts only where nothing better is known: the
    container lived and died while no worker looked.
    """
    ran_out = facts.recent(now) if facts else engines_word
    reason = Reason.OUT_OF_MEMORY if exit_code == KILLED and ran_out else Reason.CONTAINER_EXITED
    message = f"{SENTENCES[reason]} Exit code {exit_code}."
    if facts and facts.oom_kills:
        message += f" Processes that the kernel killed for want of RAM: {facts.oom_kills}."
    return reason, message
