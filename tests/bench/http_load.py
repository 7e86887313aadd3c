"""A client that costs little: many connections in one thread, each with one request under way, and one buffer each.

What it measures is the server, not itself: an HTTP library would need more time for a request than the server does.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

READ_BYTES = 1 << 16


@dataclass
class Load:
    """What a run of requests came to."""

    seconds: float
    delays: list[float] = field(default_factory=list)  # seconds, of each answer
    refused: int = 0  # answers that were no success
    refusal: str = ""  # the last of them

    @property
    def rate(self) -> float:
        return len(self.delays) / self.seconds

    def percentile(self, percent: float) -> float:
        """Seconds within which so many of a hundred answers came."""
        return sorted(self.delays)[min(len(self.delays) - 1, int(len(self.delays) * percent / 100))]


@dataclass
class _Line:
    """One connection."""

    socket: socket.socket
    sent_at: float = 0.0
    received: bytes = b""


def request(url: str, method: str, path: str, token: str, body: str = "", headers: str = "") -> bytes:
    """A request as it goes over the wire."""
    host = urlsplit(url).netloc
    content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{headers}{content}\r\n"
    return (head + body).encode()


def load(url: str, make: Callable[[], bytes], clients: int, length_seconds: float) -> Load:
    """So many clients at once, each asking again as soon as it is answered, for so long."""
    parts = urlsplit(url)
    lines = [_Line(socket.create_connection((parts.hostname or "", parts.port or 80), 30)) for _ in range(clients)]
    poll = selectors.DefaultSelector()
    for line in lines:
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(line.socket, selectors.EVENT_READ, line)
    result, began = Load(0.0), time.perf_counter()
    for line in lines:
        _ask(line, make())
    until, waiting = began + length_seconds, clients
    while waiting:
        for key, _ in poll.select(30):
            line: _Line = key.data
            line.received += line.socket.recv(READ_BYTES)
            if not _is_whole(line.received):
                continue
            now = time.perf_counter()
            result.delays.append(now - line.sent_at)
            if line.received[9:10] != b"2":
                result.refused += 1
                result.refusal = line.received[:600].decode(errors="replace")
            line.received = b""
            if now < until:
                _ask(line, make())
            else:
                poll.unregister(line.socket)
                waiting -= 1
    result.seconds = time.perf_counter() - began
    for line in lines:
        line.socket.close()
    return result


def _ask(line: _Line, text: bytes) -> None:
    line.sent_at = time.perf_counter()
    line.socket.sendall(text)


def _is_whole(received: bytes) -> bool:
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        if not received:
            raise ConnectionError("the server closed a connection")
        return False
    at = head.lower().find(b"content-length:")
    return len(body) >= int(head[at + 15 :].split(b"\r\n", 1)[0])
