"""A command in a running environment, with its streams."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from workers.engine import Engine, EngineError

CHUNK_BYTES = 64 * 1024


class Exec:
    """One command. `read`, `write` and `close` may be called from different threads."""

    def __init__(self, engine: Engine, container_id: str, command: Sequence[str], tty: bool):
        self._engine = engine
        self._container_id = container_id
        self._tty = tty
        self._id = engine.exec_create(container_id, command, tty=tty, stdin=True)
        # The SDK wraps the connection in a raw reader; only the socket under it can be written and shut down.
        self._reader: Any = engine.exec_socket(self._id, tty)
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

    def close(self) -> None:
        """Hang up. What still runs is told so, because the engine would leave it running unseen."""
        with suppress(EngineError, OSError):
            state = self._engine.exec_inspect(self._id)
            if state["Running"] and state["Pid"] and _belongs(state["Pid"], self._container_id):
                os.kill(state["Pid"], signal.SIGHUP)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self._reader.close()

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
