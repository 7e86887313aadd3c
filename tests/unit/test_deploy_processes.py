"""Background processes are found again, ended with their children, and never mixed up with a stranger's pid."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.processes import Processes
from deploy.steps import SetupError

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, subprocess, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "child = subprocess.Popen(['sleep', '60'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(60)",
]


def _said(log: Path, line: int = 0) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if log.exists() and len(lines := log.read_text().splitlines()) > line:
            return lines[line]
        time.sleep(0.02)
    raise AssertionError(f"{log} stayed empty")


def test_a_process_is_found_again_and_ended(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    started = processes.start("api", SLEEP, os.environ, tmp_path)
    assert _said(tmp_path / "log" / "api.log") == "here"
    try:
        assert Processes(tmp_path).find("api") == started
    finally:
        assert processes.stop("api")
    assert processes.find("api") is None
    assert not processes.stop("api")
    assert not list((tmp_path / "run").iterdir())


def test_one_that_ignores_sigterm_is_ended_with_its_children(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("worker", STUBBORN, os.environ, tmp_path)
    child = int(_said(tmp_path / "log" / "worker.log"))
    assert processes.stop("worker", grace_seconds=0.2)
    deadline = time.monotonic() + 5
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(child)


def test_a_pid_that_belongs_to_somebody_else_now_is_left_alone(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("api", SLEEP, os.environ, tmp_path)
    processes.stop("api")
    stranger = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL)
    try:
        record = {
            "name": "api",
            "pid": stranger.pid,
            "started": 1,
            "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "root": False,
            "log": "",
        }
        (tmp_path / "run" / "api.json").write_text(json.dumps(record))
        assert processes.find("api") is None
        assert not processes.stop("api")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_record_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "api.json").write_text('{"pid": 1')
    assert Processes(tmp_path).find("api") is None


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="flower cannot be started: /nowhere/celery"):
        Processes(tmp_path).start("flower", ["/nowhere/celery"], os.environ, tmp_path)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
