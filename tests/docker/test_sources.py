"""Packages come from where the machine is configured to take them."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from lab import Heard, Lab

from common.errors import ProvisionError
from common.settings import Settings
from common.states import Reason
from workers import resolutions
from workers.provision import Host


def page(wheel: Path) -> None:
    """The index's page of the library that has only this wheel."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    link = f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>'
    (wheel.parent / "index.html").write_text(link)


@pytest.fixture
def on_loopback(
    index: tuple[str, list[str]], host: Host, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    """A host that takes everything from that index, and resolves each time anew."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    ours = replace(settings, index_url=index[0], data_dir=tmp_path / "data", host_name="loopback", lock_ttl_seconds=0)
    lab = Lab(Host(ours))
    yield lab
    lab.clear()
    lab.host.builders.close()
    lab.host.close()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A package index on this machine's loopback, with pip and six, and the paths that it was asked for."""
    directory = tmp_path / "simple"
    for name in ("pip", "six"):
        (directory / name).mkdir(parents=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(directory / name), name]
        subprocess.run(command, check=True)
        (wheel,) = (directory / name).iterdir()
        page(wheel)
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


def test_an_index_on_the_loopback_of_the_host(index: tuple[str, list[str]], on_loopback: Lab) -> None:
    lab, asked = on_loopback, index[1]
    job, heard = lab.job("six"), Heard()
    lab.host.start(job, heard)
    assert lab.python(job, "import six; print(six.__name__)") == "six"
    assert any(path.startswith("/simple/six/") and path.endswith(".whl") for path in asked)
    # the environment itself does not get at the host's loopback
    assert lab.inspect(job)["HostConfig"]["NetworkMode"] == lab.host.network.name


def test_resolving_has_an_end(host: Host, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that takes every question and answers none."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(resolutions, "RESOLVE_SECONDS", 1.0, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        lab = Lab(Host(replace(settings, index_url=index, data_dir=tmp_path / "data", host_name="silent")))
        try:
            with pytest.raises(ProvisionError, match="were not resolved within") as caught:
                lab.start("six")
            assert caught.value.reason == Reason.LIBRARIES_UNRESOLVABLE
        finally:
            lab.host.builders.close()
            lab.host.close()


def test_an_index_that_says_nothing_of_caching_is_not_asked_again_at_once(
    index: tuple[str, list[str]], on_loopback: Lab
) -> None:
    lab, asked = on_loopback, index[1]
    lab.host.start(lab.job("six"), Heard())
    assert asked
    asked.clear()
    job = lab.job("six>=1")
    lab.host.start(job, Heard())
    assert lab.python(job, "import six; print(six.__name__)") == "six"
    assert asked == []


def test_a_wheel_that_was_replaced_under_its_own_name(
    index: tuple[str, list[str]], on_loopback: Lab, tmp_path: Path
) -> None:
    lab = on_loopback
    lab.host.start(lab.job("six"), Heard())
    (wheel,) = (tmp_path / "simple" / "six").glob("*.whl")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("six_more.py", "new = True\n")
    page(wheel)
    (cache,) = (tmp_path / "data" / "store" / "cache").iterdir()
    for pages in cache.glob("simple-v*"):  # as after ten minutes
        shutil.rmtree(pages)
    job = lab.job("six>=1")
    lab.host.start(job, Heard())
    assert lab.python(job, "import six_more; print(six_more.new)") == "True"
