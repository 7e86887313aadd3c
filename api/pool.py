"""Connections to Redis, given out in the order in which they were asked for.

redis-py's own blocking pool gives a connection to whoever asks at the moment when it comes back, past those who wait:
of a crowd that asks again and again some then never get one. Where Redis does not answer nobody waits for their turn to
find that out too.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from redis import ConnectionError, ConnectionPool, TimeoutError

from api import patience

TURN_SECONDS = 20.0  # that somebody waits for a connection: of a crowd of thousands each has had one by then


@dataclass(eq=False)
class _Place:
    """Somebody's in the line."""

    turn: Any = field(default_factory=threading.Lock)  # released when it has come, or will not
    sent_away: bool = False

    def __post_init__(self) -> None:
        self.turn.acquire()


class Turns:
    """So many may go on at once; the others wait in line."""

    def __init__(self, count: int):
        self._lock = threading.Lock()
        self._free = count
        self._line: deque[_Place] = deque()

    def take(self, seconds: float) -> bool:
        """Wait for a turn; False where none came in time, or none will. Whoever got one gives it back."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            mine = _Place()
            self._line.append(mine)
        try:
            over = mine.turn.acquire(timeout=seconds) or not self._leave(mine)
        except BaseException:
            if not self._leave(mine) and not mine.sent_away:
                self.give()
            raise
        return over and not mine.sent_away

    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    def give(self) -> None:
        """Give a turn back, to whoever has waited longest."""
        with self._lock:
            if self._line:
                self._line.popleft().turn.release()
            else:
                self._free += 1

    def send_away(self) -> None:
        """Let nobody wait any longer: no turn will come to anything."""
        with self._lock:
            while self._line:
                place = self._line.popleft()
                place.sent_away = True
                place.turn.release()

    def _leave(self, mine: _Place) -> bool:
        """Wait no longer; False where the waiting has just ended."""
        with self._lock:
            if mine in self._line:
                self._line.remove(mine)
                return True
            return False


class OrderlyPool(ConnectionPool):
    """A pool of at most `max_connections`, with `Patience`; who finds none free waits in line for `turn_seconds`."""

    def __init__(self, *, max_connections: int, turn_seconds: float = TURN_SECONDS, **settings: Any):
        self._turns = Turns(max_connections)
        self._turn_seconds = turn_seconds
        self._answered_at = time.monotonic()
        super().__init__(max_connections=max_connections, **settings)

    def get_connection(self, command_name: str | None = None, *keys: Any, **options: Any) -> Any:
        """A connection that is ready. Raises redis.ConnectionError, redis.TimeoutError."""
        if patience.is_over():
            raise TimeoutError("it has left the question before without an answer")
        began = time.monotonic()
        if not self._turns.take(self._turn_seconds):
            waited = time.monotonic() - began
            raise ConnectionError(f"none of {self.max_connections} connections came free in {waited:.0f} s")
        return super().get_connection()  # which calls release where it cannot connect

    def waiting(self) -> int:
        """How many wait for a connection."""
        return self._turns.waiting()

    def release(self, connection: Any) -> None:
        """Give a connection back."""
        ours = connection in self._in_use_connections
        if connection.is_connected:
            self._answered_at = time.monotonic()
        elif (
            connection.retry.in_vain and time.monotonic() - self._answered_at > self.connection_kwargs["socket_timeout"]
        ):
            self._turns.send_away()  # not one connection is dead but Redis
        super().release(connection)
        if ours:
            self._turns.give()
