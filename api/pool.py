"""Connections to Redis, given out in the order in which they were asked for.

redis-py's own blocking pool gives a connection to whoever asks at the moment when it comes back, past those who wait:
of a crowd that asks again and again some then never get one.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from redis import ConnectionError, ConnectionPool

TURN_SECONDS = 20.0  # that somebody waits for a connection: of a crowd of thousands each has had one by then


class Turns:
    """So many may go on at once; the others wait in line."""

    def __init__(self, count: int):
        self._lock = threading.Lock()
        self._free = count
        self._line: deque[Any] = deque()  # a lock for each who waits, released when it is their turn

    def take(self, seconds: float) -> bool:
        """Wait for a turn; False where none came in time. Whoever got one gives it back."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            mine = threading.Lock()
            mine.acquire()
            self._line.append(mine)
        try:
            return mine.acquire(timeout=seconds) or not self._leave(mine)
        except BaseException:
            if not self._leave(mine):
                self.give()
            raise

    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    def give(self) -> None:
        """Give a turn back, to whoever has waited longest."""
        with self._lock:
            if self._line:
                self._line.popleft().release()
            else:
                self._free += 1

    def _leave(self, mine: Any) -> bool:
        """Wait no longer; False where the turn has just come."""
        with self._lock:
            if mine in self._line:
                self._line.remove(mine)
                return True
            return False


class OrderlyPool(ConnectionPool):
    """A pool of at most `max_connections`; who finds none free waits in line, for `turn_seconds` at most."""

    def __init__(self, *, max_connections: int, turn_seconds: float = TURN_SECONDS, **settings: Any):
        self._turns = Turns(max_connections)
        self._turn_seconds = turn_seconds
        super().__init__(max_connections=max_connections, **settings)

    def get_connection(self, command_name: str | None = None, *keys: Any, **options: Any) -> Any:
        """A connection that is ready. Raises redis.ConnectionError."""
        if not self._turns.take(self._turn_seconds):
            raise ConnectionError(f"none of {self.max_connections} connections came free in {self._turn_seconds:.0f} s")
        return super().get_connection()  # which calls release where it cannot connect

    def waiting(self) -> int:
        """How many wait for a connection."""
        return self._turns.waiting()

    def release(self, connection: Any) -> None:
        """Give a connection back."""
        ours = connection in self._in_use_connections
        super().release(connection)
        if ours:
            self._turns.give()
