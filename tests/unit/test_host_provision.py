"""Whose builders may be removed: those of a process that has ended, in whatever way."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from workers.provision import _lives


def test_a_process_that_nobody_waited_for_has_ended() -> None:
    child = subprocess.Popen(["true"])
    try:
        stat = Path(f"/proc/{child.pid}/stat")
        while ") Z " not in stat.read_text():
            time.sleep(0.01)
        assert not _lives(str(child.pid))
    finally:
        child.wait()
    assert not _lives(str(child.pid))
    assert _lives(str(os.getpid()))
