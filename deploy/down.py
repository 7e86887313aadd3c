"""`make stop`: end all that `make run` started, in the order in which it depends on each other."""

from __future__ import annotations

import os
import subprocess
import sys

from common.errors import DCloudError
from deploy import engine, host, redis_server, services
from deploy.installation import Installation
from deploy.steps import SetupError, explain, step
from deploy.venv import PYTHON, ROOT


def main() -> int:
    """End everything, and leave nothing but `var`; the exit status."""
    installation = Installation.here()
    if not installation.settings_file.exists():
        print("Nothing was started here.")
        return 0
    os.environ.update(installation.saved())  # what was started is ended with the settings that it was started with
    try:
        with installation.held():
            bring_down(installation)
    except DCloudError as error:
        explain(error)
        return 1
    print(f"\nStorage, layers and logs are kept in {installation.var}; `make run` finds them again.")
    return 0


def bring_down(installation: Installation) -> None:
    """End services, then what they made on the host, then Redis and an engine that was started here."""
    processes = installation.processes
    with step("Services") as under_way:
        under_way.found = f"{', '.join(services.stop(processes)) or 'none ran'}"
    with step("Environments") as under_way:
        under_way.found = _clear_host(installation)
    with step("Redis") as under_way:
        under_way.found = "ended" if processes.stop(redis_server.NAME) else "is not ours, left as it is"
    if engine.is_ours(processes):
        with step("Docker engine") as under_way:
            under_way.found = engine.stop(processes)


def _clear_host(installation: Installation) -> str:
    """Remove containers, mounts, the bridge and its rules. Files of environments stay."""
    if engine.version_for_worker() is None:
        return "no Docker engine answers, so nothing runs"
    done = subprocess.run(
        [*(host.as_root() or []), str(PYTHON), "-B", "-m", "workers.shutdown"],
        cwd=ROOT,
        env=installation.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        with installation.setup_log.open("a") as log:
            log.write(done.stdout + done.stderr)
        raise SetupError("What environments left on this machine could not be removed.", installation.setup_log)
    return done.stdout.strip() or "containers, mounts and network rules are gone"


if __name__ == "__main__":
    sys.exit(main())
