"""The end of `make run`: one environment from a contract, watched until it runs, and asked what it really has."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import Any

from deploy.installation import Installation
from deploy.steps import SetupError, step
from deploy.venv import ROOT, VENV

CONTRACT = ROOT / "examples" / "data-science.json"
DCLOUD = VENV / "bin" / "dcloud"
INSIDE = ROOT / "deploy" / "inside.py"
START_SECONDS = 60
GONE = {"failed", "deleting", "deleted"}


def run(installation: Installation) -> None:
    """Have the example run, prove it from inside, and say what to do next."""
    contract = json.loads(CONTRACT.read_text())
    if not installation.token_file.exists():
        print("\nThe account admin is disabled, so the example has nobody to run for.")
        return _farewell(installation, contract["env-name"])
    environment = _present(installation, contract["env-name"])
    print(flush=True)
    if environment is None:
        environment = _submit(installation, contract["env-name"])
    else:
        _have_running(installation, environment)
    _show(_ask(installation, environment["id"], contract), contract)
    return _farewell(installation, contract["env-name"])


def _submit(installation: Installation, name: str) -> dict[str, Any]:
    """Submit the example as a person would, with the progress bar."""
    print(f"$ dcloud submit {CONTRACT.relative_to(ROOT)} --watch", flush=True)
    done = _dcloud(installation, "submit", str(CONTRACT), "--watch")
    environment = _present(installation, name)
    if done.returncode or environment is None:
        raise SetupError("The example did not come to run. What is above says why; `make run` tries again.")
    return environment


def _present(installation: Installation, name: str) -> dict[str, Any] | None:
    """The newest environment of that name that has not ended."""
    listed = json.loads(_dcloud(installation, "ls", "--json", capture=True).stdout)
    found = [item for item in listed if item["name"] == name and item["state"] not in GONE]
    return found[0] if found else None


def _have_running(installation: Installation, environment: dict[str, Any]) -> None:
    """Start it where it is stopped, and wait until it runs."""
    with step(environment["name"]) as under_way:
        if environment["state"] == "stopped":
            _dcloud(installation, "start", environment["id"], capture=True)
        deadline = time.monotonic() + START_SECONDS
        while (state := _state(installation, environment["id"])) != "running":
            if state in GONE or time.monotonic() > deadline:
                raise SetupError(f"{environment['name']} is {state}; `.venv/bin/dcloud show {environment['id']}`.")
            time.sleep(0.5)
        already = environment["state"] == "running"
        under_way.found = "runs already" if already else "started again, its files are there"


def _state(installation: Installation, env_id: str) -> str:
    return str(json.loads(_dcloud(installation, "show", env_id, "--json", capture=True).stdout)["state"])


def _ask(installation: Installation, env_id: str, contract: dict[str, Any]) -> dict[str, Any]:
    names = [re.split(r"[^A-Za-z0-9._-]", library)[0] for library in contract["language"]["libraries"]]
    command = ["exec", env_id, "--", "python", "-c", INSIDE.read_text(), *names]
    answer = _dcloud(installation, *command, capture=True)
    return dict(json.loads(answer.stdout))


def _show(facts: dict[str, Any], contract: dict[str, Any]) -> None:
    asked = contract["resources"]
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    rows = (
        ("python", f"{facts['python']} on {facts['os']}, as user {facts['user']}"),
        ("libraries", libraries),
        ("memory limit", f"{facts['memory_bytes'] / 1e9:.2f} GB ({asked['ram']} asked for)"),
        ("cpu limit", f"{facts['cpus']:g} ({asked['cpu']} asked for)"),
        ("storage", f"{facts['storage_bytes'] / 1e9:.2f} GB ({asked['storage']} asked for, less the filesystem's own)"),
    )
    print("\nAsked from inside the container:")
    for name, value in rows:
        print(f"  {name:<14}{value}")


def _farewell(installation: Installation, name: str) -> None:
    settings = installation.settings()
    elsewhere = installation.var != ROOT / "var"
    dcloud = f"DCLOUD_VAR_DIR={installation.var} .venv/bin/dcloud" if elsewhere else ".venv/bin/dcloud"
    rows = (
        ("pages", f"{settings.url}/  (sign in with the token in {installation.token_file})"),
        ("API", f"{settings.url}/docs"),
        ("Flower", f"{settings.url}/flower  (for admins)"),
        ("list", f"{dcloud} ls"),
        ("open", f"{dcloud} exec {name}"),
        ("password", f"{dcloud} users password  (then sign in on the pages as admin with it)"),
        ("stop", "make stop"),
    )
    print("\nWhat next:")
    for what, how in rows:
        print(f"  {what:<14}{how}")


def _dcloud(installation: Installation, *arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Call the command as its user would; SetupError with what it said where a call that we read fails."""
    environment = {**installation.environment(), "DCLOUD_API_URL": installation.settings().url}
    done = subprocess.run(
        [str(DCLOUD), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=capture,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if capture and done.returncode:
        raise SetupError(f"`dcloud {arguments[0]}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done
