"""`make test`: what the tests need is installed and started first, then pytest runs every tier on the real thing."""

from __future__ import annotations

import os
import subprocess
import sys

from common.errors import DCloudError
from deploy import engine, host, up
from deploy.installation import Installation
from deploy.steps import explain, step
from deploy.venv import PYTHON, ROOT

NEEDED = {
    **up.NEEDED,
    "cc": "gcc",  # builds the stand-in for NVIDIA's library
    "/usr/include/stdio.h": "libc6-dev",
    "redis-server": "redis-server",
    "chromium": "chromium",
    "/usr/share/containers/seccomp.json": "golang-github-containers-common",
}
# The quick ones first, so that what is broken is seen soon.
TIERS = ("unit", "model", "integration", "docker", "faults", "browser", "acceptance")
# All of them in two processes: those that use the engine mostly wait for it (tests/lanes.py says which those are).
TOGETHER = ("-n", "2", "--dist", "loadfile")


def main(arguments: list[str]) -> int:
    """Set up, run pytest, and end an engine that was started for it; pytest's exit status."""
    tests = Installation(ROOT / "var" / "test")
    try:
        set_up(tests)
    except DCloudError as error:
        explain(error)
        return 1
    try:
        everything = [*TOGETHER, *(f"tests/{tier}" for tier in TIERS if (ROOT / "tests" / tier).is_dir())]
        return _pytest(arguments or everything)
    finally:
        if engine.is_ours(tests.processes):
            engine.stop(tests.processes)


def set_up(tests: Installation) -> None:
    """Install and start what tests need. Raises DCloudError."""
    with step("Host packages") as under_way:
        missing = host.packages_for(NEEDED)
        host.install(missing, tests.setup_log)
        under_way.found = f"installed {', '.join(missing)}" if missing else "all there already"
    with step("Docker engine") as under_way:
        under_way.found = engine.ensure(tests.processes, tests.setup_log)


def _pytest(arguments: list[str]) -> int:
    """Run pytest as root, for environments' storage is mounted; its closing line stays the last of the output."""
    root = host.as_root() or []
    # Nothing in the checkout may come to belong to root, or its user could not remove it.
    tidy = ["-p", "no:cacheprovider"] if root else []
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"} if root else dict(os.environ)
    environment["PATH"] = f"{environment.get('PATH', os.defpath)}:{host.SBIN}"
    command = [*root, str(PYTHON), "-m", "pytest", *tidy, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
