"""Known vulnerabilities of the pinned dependencies, by pip-audit."""

from __future__ import annotations

import json
import subprocess

from deploy.venv import DEVELOP, VENV

TIMEOUT_SECONDS = 120


def check() -> tuple[list[str], str]:
    """One line for each vulnerability, and a remark where the service could not be asked: that is no failure."""
    command = [str(VENV / "bin" / "pip-audit"), "-r", str(DEVELOP), "--require-hashes", "--disable-pip", "-f", "json"]
    try:
        done = subprocess.run(
            [*command, "--progress-spinner", "off", "--timeout", "10"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        dependencies = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return [], "not done: the service of vulnerabilities cannot be reached from here"
    return report(dependencies)


def report(dependencies: list[dict[str, object]]) -> tuple[list[str], str]:
    """What pip-audit's list says: one line for each vulnerability, and how many packages it had no word on."""
    problems = []
    for dependency in dependencies:
        for flaw in dependency.get("vulns", []):  # type: ignore[attr-defined]
            fixed = ", ".join(flaw["fix_versions"]) or "no version yet"
            problems.append(f"{dependency['name']} {dependency['version']}: {flaw['id']}, fixed in {fixed}")
    skipped = sum("skip_reason" in dependency for dependency in dependencies)
    if skipped == len(dependencies):
        return problems, "not done: the package index here has no word on vulnerabilities"
    return problems, f"ok, {skipped} packages unknown to the service" if skipped else ""
