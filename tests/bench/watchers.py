"""Clients that watch live, by the thousand, in one thread: what came to them, and how late."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from bench.http_load import READ_BYTES, request
from bench.processes import until


class Watchers:
    """So many open streams of events, read in a thread of their own until the end of the block."""

    def __init__(self, url: str, token: str, env_ids: Sequence[str], count: int, told: int):
        """All are opened at once. `told` is how many events each environment has already; when this returns all of them
        have come to all, or somebody was refused."""
        self.delays: list[float] = []  # seconds from when an event was written to when a client had it
        self.lost = 0  # streams that ended
        self.refused = 0  # that were none
        self._poll = selectors.DefaultSelector()
        self._over = threading.Event()
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        for number in range(count):
            self._sockets.append(self._open(url, token, env_ids[number % len(env_ids)]))
        until(lambda: self.refused or len(self.delays) >= told * count, "all have what happened before")

    def __enter__(self) -> Watchers:
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        for one in self._sockets:
            one.close()

    def _open(self, url: str, token: str, env_id: str) -> socket.socket:
        parts = urlsplit(url)
        opened = socket.create_connection((parts.hostname or "", parts.port or 80), 30)
        path = f"/api/v1/environments/{env_id}/events"
        opened.sendall(request(url, "GET", path, token, headers="Accept: text/event-stream\r\n"))
        self._poll.register(opened, selectors.EVENT_READ)
        return opened

    def _read(self) -> None:
        while not self._over.is_set():
            for key, _ in self._poll.select(0.2):
                stream = key.fileobj
                assert isinstance(stream, socket.socket)
                received = stream.recv(READ_BYTES)
                now = time.time()
                if not received:
                    self.lost += 1
                    self._poll.unregister(stream)
                self.refused += received.startswith(b"HTTP/1.1 ") and not received.startswith(b"HTTP/1.1 200 ")
                for line in received.split(b"\n"):
                    if line.startswith(b"id: "):
                        self.delays.append(now - int(line[4:].split(b"-")[0]) / 1000)
