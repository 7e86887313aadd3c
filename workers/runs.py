"""What this process is doing for which environment: one thing at a time each, and a way to call it off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Runs:
    """The environments that threads of this process work on."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}
        self._making: dict[str, int] = {}
        self._cancelled: set[tuple[str, int]] = set()

    @contextmanager
    def exclusive(self, env_id: str) -> Iterator[None]:
        """Wait until no other thread works on this environment."""
        with self._mutex:
            lock, users = self._locks.get(env_id, (threading.Lock(), 0))
            self._locks[env_id] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._mutex:
                lock, users = self._locks.pop(env_id)
                if users > 1:
                    self._locks[env_id] = (lock, users - 1)

    @contextmanager
    def making(self, env_id: str, token: int) -> Iterator[None]:
        """Mark that an environment is being made under a token, so that it can be called off."""
        with self._mutex:
            self._making[env_id] = token
        try:
            yield
        finally:
            with self._mutex:
                self._making.pop(env_id, None)
                self._cancelled.discard((env_id, token))

    def call_off(self, env_id: str) -> None:
        """Let the making of an environment end at its next step, if it is being made."""
        with self._mutex:
            if env_id in self._making:
                self._cancelled.add((env_id, self._making[env_id]))

    def called_off(self, env_id: str, token: int) -> bool:
        """Whether `call_off` was called for the present making."""
        with self._mutex:
            return (env_id, token) in self._cancelled

    def busy(self) -> set[str]:
        """Environments that some thread works on or waits for."""
        with self._mutex:
            return set(self._locks)
