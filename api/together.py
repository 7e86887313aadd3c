"""Questions of several requests in one round trip: who asks while others are being answered goes with the next trip.

The busier a process is, the more go together, and the less each costs.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redis import Connection, ConnectionPool, RedisError, ResponseError, TimeoutError

from api import patience

_PACKER = Connection()  # type: ignore[no-untyped-call]  # is never connected


@dataclass(eq=False)
class _Asked:
    """The questions of one request."""

    commands: bytes  # as they go over the wire
    count: int
    turn: Any = field(default_factory=threading.Lock)  # released once it is answered, or when it is to lead
    leads: bool = False
    answered: bool = False
    in_vain: bool = False
    replies: list[Any] = field(default_factory=list)


class Together:
    """Asks for all requests of this process. At any time one of them leads: it takes along all who wait."""

    def __init__(self, pool: ConnectionPool):
        self._pool = pool
        self._lock = threading.Lock()
        self._waiting: list[_Asked] = []
        self._led = False

    def ask(self, command: bytes) -> Any:
        """What Redis answers to a command that is packed already; None where it does not, or refuses."""
        [reply] = self._replies(_Asked(command, 1)) or [None]
        return None if isinstance(reply, ResponseError) else reply

    def several(self, commands: Sequence[tuple[Any, ...]]) -> list[Any] | None:
        """What Redis answers to each of these commands, an error where it refuses one; None where it is away."""
        return self._replies(_Asked(b"".join(packed(*command) for command in commands), len(commands)))

    def _replies(self, mine: _Asked) -> list[Any] | None:
        mine.turn.acquire()
        with self._lock:
            self._waiting.append(mine)
            if not self._led:
                self._led = mine.leads = True
        if not mine.leads:
            self._wait(mine)
        if not mine.answered:
            self._lead()
        if mine.in_vain:
            patience.give_up()
        return mine.replies if len(mine.replies) == mine.count else None

    def _wait(self, mine: _Asked) -> None:
        try:
            mine.turn.acquire()
        except BaseException:  # the request is broken off
            with self._lock:
                if mine in self._waiting:
                    self._waiting.remove(mine)
            if mine.leads:
                self._pass_on()
            raise

    def _lead(self) -> None:
        with self._lock:
            gone, self._waiting = self._waiting, []
        try:
            self._exchange(gone)
        except RedisError as error:  # who was not answered goes the long way, which says what is wrong
            for asked in gone:
                asked.in_vain = isinstance(error, TimeoutError)
        finally:
            for asked in gone:
                asked.answered = True
                asked.turn.release()
            self._pass_on()

    def _pass_on(self) -> None:
        with self._lock:
            self._led = bool(self._waiting)
            if self._led:
                self._waiting[0].leads = True
                self._waiting[0].turn.release()

    def _exchange(self, together: list[_Asked]) -> None:
        connection = self._pool.get_connection()

        def ask() -> None:
            connection.send_packed_command([b"".join(asked.commands for asked in together)])  # type: ignore[no-untyped-call]
            for asked in together:
                asked.replies = [_reply(connection) for _ in range(asked.count)]

        try:
            connection.retry.call_with_retry(ask, connection.disconnect)
        finally:
            self._pool.release(connection)


def packed(*command: Any) -> bytes:
    """A command as it goes over the wire."""
    return b"".join(_PACKER.pack_command(*command))  # type: ignore[no-untyped-call]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
