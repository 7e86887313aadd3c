"""The canary: notices a consumer that has stopped consuming, and starts this process anew.

Celery's consumer has stopped without a word after a lost connection more than once (celery#8030, celery#10302,
celery#10502), and a process in that state looks healthy. So every message that is sent to this host's own queue must
be received in time; where nothing is sent for long a message is sent for that alone. A process that starts anew loses
nothing: the ledger knows what is to be done, and containers are not its children.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from celery import signals

log = logging.getLogger(__name__)

DEAF_SECONDS = 30.0  # a message that was not received by then is not going to be, unless all threads are at work
IDLE_SECONDS = 600.0  # silence after which a message is sent to see that it arrives
PATIENCE_SECONDS = 600.0  # what is under way may go on for so long before the process starts anew


class Canary:
    """Hears of every message that is sent and received. `call` sends one; `full` says if no thread is free."""

    def __init__(self, call: Callable[[], object], full: Callable[[], bool], busy: Callable[[], object]):
        self._call, self._full, self._busy = call, full, busy
        self._mutex = threading.Lock()
        self._sent: float | None = None  # when the first was sent of those that nothing was received after
        self._heard = time.monotonic()
        signals.task_received.connect(self.heard, weak=False)

    def sent(self, since: float) -> None:
        """A message was sent to this host's queue, no earlier than `since` by time.monotonic."""
        with self._mutex:
            if self._heard < since:  # else it may have been received already
                self._sent = self._sent or time.monotonic()

    def heard(self, **_: Any) -> None:
        """The consumer received a message."""
        with self._mutex:
            self._sent, self._heard = None, time.monotonic()

    def due_in(self) -> float:
        """Seconds until the next look is due."""
        return DEAF_SECONDS if self._sent else IDLE_SECONDS

    def look(self) -> None:
        """Send a message where there was none for long; start anew where one was not received."""
        now = time.monotonic()
        with self._mutex:
            sent, heard = self._sent, self._heard
        if sent is None and now - heard > IDLE_SECONDS:
            self._call()
            self.sent(now)
        elif sent is not None and now - sent > DEAF_SECONDS:
            if self._full():
                self.heard()  # no thread would take it; it is sent again
            elif not self._busy() or now - sent > PATIENCE_SECONDS:
                self._start_anew(now - sent)

    def _start_anew(self, seconds: float) -> None:
        log.critical("The consumer received nothing for %.0f s. This process starts anew; containers stay.", seconds)
        logging.shutdown()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
