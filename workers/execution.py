"""A command in a running environment, with its streams."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from workers.engine import Engine, EngineError

CHUNK_BYTES = 64 * 1024
PID_TRIES = 50
PID_WAIT_SECONDS = 0.1
END_SECONDS = 0.02


class Exec:
    """One command. `read`, `write` and `close` may be called from different threads."""

    def __init__(
        self,
        engine: Engine,
        container_id: str,
        command: Sequence[str],
        tty: bool = False,
        stdin: bool = True,
        env: Mapping[str, str] = MappingProxyType({}),
        oom_kills: Callable[[], int] = lambda: 0,
    ):
        """`oom_kills` counts what the kernel killed in the container for want of RAM."""
        self._engine = engine
        self._container_id = container_id
        self._tty = tty
        self._oom_kills, self._killed_before = oom_kills, oom_kills()
        self._id = engine.exec_create(container_id, command, tty=tty, stdin=stdin, env=env)
        # The SDK wraps the connection in a raw reader; only the socket under it can be written and shut down.
        self._reader: Any = engine.exec_start(self._id, tty)
        self._socket: socket.socket = getattr(self._reader, "_sock", self._reader)
        self._socket.settimeout(None)
        self._left = 0  # bytes of the present frame that are still to come

    def read(self) -> bytes:
        """The next piece of output, both streams together; b"" at its end."""
        if self._tty:
            return self._receive(CHUNK_BYTES)
        while self._left == 0:
            header = self._exactly(8)
            if not header:
                return b""
            (self._left,) = struct.unpack(">4xI", header)
        data = self._receive(min(self._left, CHUNK_BYTES))
        self._left -= len(data)
        return data

    def write(self, data: bytes) -> None:
        """Send input; b"" ends it."""
        with suppress(BrokenPipeError, ConnectionResetError):  # it ended and reads no more
            if data:
                self._socket.sendall(data)
            else:
                self._socket.shutdown(socket.SHUT_WR)

    def resize(self, rows: int, cols: int) -> None:
        """Tell the terminal its size; without a terminal, or after the end, nothing happens."""
        if self._tty:
            with suppress(EngineError):
                self._engine.exec_resize(self._id, rows, cols)

    def exit_code(self) -> int | None:
        """None while it runs."""
        state = self._engine.exec_inspect(self._id)
        return None if state["Running"] else state["ExitCode"]

    def wait(self, seconds: float) -> int | None:
        """The exit code, waited for so long; None where it still runs then. Output may end before the command does."""
        give_up = time.monotonic() + seconds
        while (code := self.exit_code()) is None and time.monotonic() < give_up:
            time.sleep(END_SECONDS)
        return code

    def was_started(self) -> bool:
        """Whether there was a process at all. Where there was none, what `read` gives is the engine's explanation."""
        state = self._engine.exec_inspect(self._id)
        return bool(state["Running"] or state["Pid"])

    def ran_out(self) -> bool:
        """Whether the kernel has killed programs of the container for want of RAM since it began."""
        return self._oom_kills() > self._killed_before

    def close(self) -> None:
        """Hang up. What still runs is told so, because the engine would leave it running unseen."""
        with suppress(EngineError, OSError):
            pid = self._pid()
            if pid and _belongs(pid, self._container_id):
                os.kill(pid, signal.SIGHUP)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for part in (getattr(self._reader, "_response", None), self._reader, self._socket):
            with suppress(OSError):
                if part is not None:
                    part.close()

    def _pid(self) -> int:
        """The command's process on this machine, 0 where it has ended; a moment after the start it has none yet."""
        for _ in range(PID_TRIES):
            state = self._engine.exec_inspect(self._id)
            if not state["Running"] or state["Pid"]:
                break
            time.sleep(PID_WAIT_SECONDS)
        return int(state["Pid"]) if state["Running"] else 0

    def _receive(self, count: int) -> bytes:
        try:
            return self._socket.recv(count)
        except OSError:  # closed by `close`
            return b""

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._receive(count - len(data))
            if not piece:
                return b""
            data += piece
        return data


def _belongs(pid: int, container_id: str) -> bool:
    return container_id in Path(f"/proc/{pid}/cgroup").read_text()
