"""`python3 -m deploy.run LOCK MODULE [ARGUMENT]…`: make the virtual environment, then run a module of ours inside it.

This is how every `make` target begins, with the machine's own Python; so here, and in what is imported here, only the
standard library is used.
"""

from __future__ import annotations

import subprocess
import sys
import time

from common.errors import DCloudError
from deploy.installation import Installation
from deploy.steps import explain, step
from deploy.venv import PYTHON, ROOT, ensure


def main(lock: str, module: str, *arguments: str) -> int:
    """Run `module` with what `lock` pins; its exit status."""
    began = time.monotonic()
    try:
        with step("Python packages") as under_way:
            under_way.found = ensure(ROOT / "deploy" / lock, Installation.here().setup_log)
    except DCloudError as error:
        explain(error)
        return 1
    status = subprocess.run([str(PYTHON), "-m", module, *arguments], cwd=ROOT, check=False).returncode
    if module == "deploy.up" and status == 0:
        print(f"\nFrom the command to this line: {time.monotonic() - began:.0f} s.")
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
