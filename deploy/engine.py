"""The Docker engine of this machine: whether one answers, and how one comes to run where none does."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from deploy import host
from deploy.processes import Processes
from deploy.steps import SetupError

NAME = "dockerd"  # of the process, where it is ours
PROGRAMS = {"dockerd": "docker.io", "iptables": "iptables"}
START_SECONDS = 60
SOCKET = Path("/var/run/docker.sock")
SYSTEMD = Path("/run/systemd/system")


def version() -> str | None:
    """Version of the engine; None where none answers this user."""
    try:
        with _client() as client:
            return str(client.version()["Version"])
    except (DockerException, RequestException):
        return None


def containers() -> str | None:
    """The names of the containers that run on the engine; None where none answers this user."""
    try:
        with _client() as client:
            return ", ".join(str(container.name) for container in client.containers.list(ignore_removed=True))
    except (DockerException, RequestException):
        return None


def version_for_worker() -> str | None:
    """`version` as the worker will see it: as root, where this user becomes root for it."""
    return version() or _as_root("version") or None


def ensure(processes: Processes, log: Path) -> str:
    """Make an engine answer, installing and starting one where this user may; says which it is."""
    found = version_for_worker()
    if found:
        return f"{found}, runs already"
    if _address() not in ("", f"unix://{SOCKET}"):
        raise SetupError(
            f"No Docker engine answers at {_address()}. Start it, or unset DCLOUD_DOCKER_HOST and DOCKER_HOST."
        )
    root = host.as_root()
    if root is None and SOCKET.exists() and not os.access(SOCKET, os.W_OK):
        raise SetupError(
            "This machine has a Docker engine that this user may not use. Run this as root, or as a user of the group "
            "docker with sudo that asks for no password."
        )
    if root is None:
        raise SetupError(
            "No Docker engine answers, and this user may not start one. Install and start it "
            "(`sudo apt-get install docker.io && sudo systemctl start docker`), or run this as root."
        )
    host.install(_packages(), log)
    if SYSTEMD.is_dir():
        host.run([*root, "systemctl", "start", "docker"], log)
        return f"{_wait(log)}, started as a service of the machine"
    dockerd = processes.start(NAME, [host.program("dockerd") or "dockerd"], _with_sbin(), Path("/"), root)
    return f"{_wait(Path(dockerd.log))}, started by DCloud"


def is_ours(processes: Processes) -> bool:
    """Whether `ensure` started an engine as a process of ours, and it still runs."""
    return processes.find(NAME) is not None


def stop(processes: Processes) -> str:
    """End an engine of ours, unless containers of somebody else run on it; says which."""
    others = containers()
    if others is None:
        others = _as_root("containers")  # where it answers nobody, nobody loses anything
    if others:
        return f"left running, for {others} runs on it"
    processes.stop(NAME, grace_seconds=60)
    return "ended"


@contextmanager
def _client() -> Iterator[docker.DockerClient]:
    address = os.environ.get("DCLOUD_DOCKER_HOST")
    client = docker.DockerClient(address, timeout=10) if address else docker.from_env(timeout=10)
    try:
        yield client
    finally:
        client.close()


def _address() -> str:
    return os.environ.get("DCLOUD_DOCKER_HOST") or os.environ.get("DOCKER_HOST", "")


def _as_root(question: str) -> str:
    """What root gets for an answer, where this user becomes root without a password; else empty."""
    root = host.as_root()
    return host.output([*root, sys.executable, "-B", "-m", "deploy.engine", question]) if root else ""


def _packages() -> list[str]:
    """What an engine needs here. AppArmor's parser is only a recommendation of the package, yet dockerd needs it."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    programs = dict(PROGRAMS)
    if enabled.exists() and enabled.read_text().startswith("Y"):
        programs["apparmor_parser"] = "apparmor"
    return host.packages_for(programs)


def _with_sbin() -> dict[str, str]:
    """dockerd looks for iptables and its helpers on the PATH."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:{host.SBIN}"}


def _wait(log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if found := version_for_worker():
            return found
        time.sleep(0.2)
    raise SetupError(f"The Docker engine was started and did not answer within {START_SECONDS} s.", log)


if __name__ == "__main__":
    print({"version": version, "containers": containers}[sys.argv[1]]() or "")
