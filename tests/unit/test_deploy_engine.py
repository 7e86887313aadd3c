"""What somebody is told whose machine has an engine that they may not use."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import engine, host
from deploy.processes import Processes
from deploy.steps import SetupError


@pytest.fixture
def forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A socket that somebody listens on, for a user without any right to it."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        monkeypatch.setattr(engine, "SOCKET", path)
        monkeypatch.setattr(engine, "version_for_worker", lambda: None)
        monkeypatch.setattr(engine, "_address", str)
        monkeypatch.setattr(host, "as_root", lambda: None)
        monkeypatch.setattr(os, "access", lambda *_: False)  # tests run as root, who may do everything
        yield


@pytest.mark.usefixtures("forbidden")
def test_an_engine_that_this_user_may_not_use_is_not_called_absent(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="Docker engine that this user may not use"):
        engine.ensure(Processes(tmp_path), tmp_path / "log")


@pytest.mark.usefixtures("forbidden")
def test_without_a_socket_it_is_absent(tmp_path: Path) -> None:
    engine.SOCKET.unlink()
    with pytest.raises(SetupError, match="No Docker engine answers"):
        engine.ensure(Processes(tmp_path), tmp_path / "log")
