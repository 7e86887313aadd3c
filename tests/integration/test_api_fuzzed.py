"""schemathesis against the served API on a real Redis, with a host that works: all of its checks, no 5xx.

Short here; `DCLOUD_FUZZ_SECONDS=1200 make test ARGS=tests/integration/test_api_fuzzed.py` looks for longer.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from api_fixtures import serving
from simulated_host import PROGRAMS, SimulatedHost

from deploy.redis_server import free_port

TESTS = Path(__file__).parents[1]
SECONDS = int(os.environ.get("DCLOUD_FUZZ_SECONDS", "0"))
# streams that do not end are for tests of their own, and a password that is set ends the caller's sessions
LEFT_OUT = r"/(logs|output|password)$"


@pytest.mark.timeout(300 + 2 * SECONDS)
def test_nothing_that_it_thinks_of_breaks_anything(
    redis_url: str,
    host: SimulatedHost,
    token_of: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DCLOUD_RATE_LIMIT", "0")
    monkeypatch.setenv("DCLOUD_VAR_DIR", str(tmp_path))
    host.programs = PROGRAMS
    token = token_of("root", "admin", scopes=["read", "submit", "admin"])
    with serving(redis_url, free_port(), tmp_path / "api.log") as server:
        done = fuzz(server.url, token, tmp_path)
        log = server.log.read_text()
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Traceback" not in log
    tested = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert tested, done.stdout[-3000:]
    assert int(tested[2]) > 150


def fuzz(url: str, token: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Examples of every operation, and with SECONDS all that it can think of."""
    phases: list[Any] = ["--max-time", SECONDS] if SECONDS else ["--phases", "examples,fuzzing", "--max-examples", "3"]
    command = [
        Path(sys.executable).with_name("schemathesis"), "--config-file", TESTS / "schemathesis.toml",
        "run", f"{url}/api/v1/openapi.json", "-H", f"Authorization: Bearer {token}", *phases,
        "--exclude-path-regex", LEFT_OUT, "--continue-on-failure", "--request-timeout", "20", "--no-color",
        "--seed", "1",
    ]  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": str(TESTS), "NO_PROXY": "*", "no_proxy": "*"}
    return subprocess.run(
        [str(part) for part in command], cwd=directory, env=environ, capture_output=True, text=True, check=False
    )
