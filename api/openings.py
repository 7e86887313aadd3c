"""How many streams each user has open at this process, and answers that wait for something: thousands of one user would
leave none for the others."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import TooMany

RETRY_AFTER_SECONDS = 10


class Openings:
    """The open streams of this process, by user; `most` 0 is no limit."""

    def __init__(self, most: int):
        self._most = most
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()

    def check(self, user: str) -> None:
        """Raises TooMany where one more would be too many."""
        if self._most and self._open.get(user, 0) >= self._most:
            raise TooMany(
                f"You have {self._most} streams open. Close one, or look now and then instead.", RETRY_AFTER_SECONDS
            )

    def begin(self, user: str) -> None:
        """Count one more. Raises TooMany."""
        with self._lock:
            self.check(user)
            self._open[user] += 1

    @contextmanager
    def one(self, user: str) -> Iterator[None]:
        """One more until the end of the block. Raises TooMany."""
        self.begin(user)
        try:
            yield
        finally:
            self.end(user)

    def end(self, user: str) -> None:
        """Count one less."""
        with self._lock:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]
