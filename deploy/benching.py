"""`make bench`: what the benches need is installed and started as for the tests, then they run and are judged."""

from __future__ import annotations

import os
import subprocess
import sys

from common.errors import DCloudError
from deploy import engine, host
from deploy.installation import Installation
from deploy.steps import explain
from deploy.testing import set_up
from deploy.venv import PYTHON, ROOT


def main(arguments: list[str]) -> int:
    """Set up, run the groups that are named, end an engine that was started for them; 1 where a target is missed."""
    benches = Installation(ROOT / "var" / "bench")
    try:
        set_up(benches)
    except DCloudError as error:
        explain(error)
        return 1
    try:
        return _run(arguments)
    finally:
        if engine.is_ours(benches.processes):
            engine.stop(benches.processes)


def _run(arguments: list[str]) -> int:
    """As root, for environments' storage is mounted; the results belong to the user all the same."""
    root = host.as_root() or []
    paths = {"PYTHONPATH": str(ROOT / "tests"), "PATH": f"{os.environ.get('PATH', os.defpath)}:{host.SBIN}"}
    environment = {**os.environ, **paths, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*root, str(PYTHON), "-m", "bench", *arguments]
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    if root:
        subprocess.run([*root, "chown", f"{os.getuid()}:{os.getgid()}", "var/bench.json"], cwd=ROOT, check=False)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
