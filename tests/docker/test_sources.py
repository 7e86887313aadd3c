"""Packages come from where the machine is configured to take them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from lab import Heard, Lab

from common.settings import Settings
from workers.provision import Host


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A package index on this machine's loopback, with pip and six, and the paths that it was asked for."""
    directory = tmp_path / "simple"
    for name in ("pip", "six"):
        (directory / name).mkdir(parents=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(directory / name), name]
        subprocess.run(command, check=True)
        (wheel,) = (directory / name).iterdir()
        (directory / name / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/simple", asked
        server.shutdown()
        thread.join()


def test_an_index_on_the_loopback_of_the_host(
    index: tuple[str, list[str]], host: Host, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = index
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    lab = Lab(Host(replace(settings, index_url=address, data_dir=tmp_path / "data", host_name="loopback")))
    try:
        job, heard = lab.job("six"), Heard()
        lab.host.start(job, heard)
        assert lab.python(job, "import six; print(six.__name__)") == "six"
        assert any(path.startswith("/simple/six/") and path.endswith(".whl") for path in asked)
        # the environment itself does not get at the host's loopback
        assert lab.inspect(job)["HostConfig"]["NetworkMode"] == lab.host.network.name
    finally:
        lab.clear()
        lab.host.builders.close()
        lab.host.close()
