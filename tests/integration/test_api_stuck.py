"""A client that asks for a long answer and reads none of it, at gunicorn as it serves the API."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.api_fixtures import free_port

ROOT = Path(__file__).parent.parent.parent
# an answer without end, which says in a file when it was told to stop
ENDLESS = """
import logging

from api.arrival import InTime, one_line

logging.getLogger("gunicorn.error").addFilter(one_line)


def endless(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        while True:
            yield b"x" * 100_000
    finally:
        open("ended", "w").close()


application = InTime(endless, send_seconds=1)
"""


def test_who_does_not_read_is_dropped_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-b", f"127.0.0.1:{port}", "endless:application"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        with _connected(port) as stuck:
            stuck.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            until = time.monotonic() + 20
            while not (tmp_path / "ended").exists() and time.monotonic() < until:
                time.sleep(0.05)
            assert (tmp_path / "ended").exists()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=20)
    said = (tmp_path / "log").read_text()
    assert said.count("did not read its answer") == 1
    assert "Traceback" not in said


def _connected(port: int) -> socket.socket:
    until = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
