"""`make check`: what is read rather than run. All of it is done, then the first failure decides."""

from __future__ import annotations

import subprocess
import sys

from deploy import audit, hygiene
from deploy.venv import ROOT, VENV

TOOLS = {
    "format": ("ruff", "format", "--check", "--quiet"),
    "lint": ("ruff", "check", "--quiet"),
    "types": ("mypy", "--no-error-summary"),
    "imports": ("lint-imports",),
}


def main() -> int:
    """Run every check; 1 if any found something."""
    found = [name for name, command in TOOLS.items() if not _tool(name, command)]
    for name, check in (("hygiene", hygiene.check), ("audit", audit.check)):
        problems, remark = check()
        print(f"{name:<8} {'failed' if problems else remark or 'ok'}", flush=True)
        for problem in problems:
            print(f"  {problem}")
        found += [name] if problems else []
    print(f"\nmake check: {', '.join(found)} failed" if found else "\nmake check: all is well")
    return 1 if found else 0


def _tool(name: str, command: tuple[str, ...]) -> bool:
    """Whether a tool is content; what it says is shown only where it is not."""
    program, *options = command
    done = subprocess.run(
        [str(VENV / "bin" / program), *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(f"{name:<8} {'failed' if done.returncode else 'ok'}", flush=True)
    if done.returncode:
        print(done.stdout + done.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
