"""What tests could leave on a machine, so that a run can show that it left nothing."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

RUN = "DCLOUD_TEST_RUN"  # in the environment of every process that a test run starts, and of their children
SETTLE_SECONDS = 10  # the engine ends some things a moment after it said so


def mark() -> None:
    """Begin a run: what it starts can be told from everything else by its environment, whoever inherits it."""
    os.environ[RUN] = f"{os.getpid()}-{time.time_ns()}"


def snapshot() -> set[str]:
    """Everything on this machine that a test might leave behind, one line each."""
    return {
        *_engine(),
        *_loops(),
        *_mounts(),
        *_firewall(),
        *_processes(),
    }


def left_behind(before: set[str]) -> list[str]:
    """What is there now and was not before, once things have settled."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (left := snapshot() - before) and time.monotonic() < deadline:
        time.sleep(0.5)
    return sorted(left)


def others() -> bool:
    """Whether another test run is under way on this machine: what it makes cannot be told from what we leave."""
    ours = {os.getpid(), *_ancestors(os.getpid())}
    runs = {int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit() and _is_pytest(folder)}
    return bool(runs - ours) or any(run != os.environ[RUN] for _, run in _marked())


def _is_pytest(folder: Path) -> bool:
    words = _command(int(folder.name)).split()[:4]
    return any(word == "pytest" or word.endswith("/pytest") for word in words)


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
        found.append(pid)
    return found


def _engine() -> set[str]:
    client = docker.from_env(timeout=30)
    try:
        containers = client.api.containers(all=True)
        volumes = client.api.volumes()["Volumes"] or []
        networks = client.api.networks()
    except (RequestException, DockerException):
        return set()  # no engine, hence nothing of it
    finally:
        client.close()
    return {
        *(f"container {' '.join(item['Names'])} of {item['Image']}" for item in containers),
        *(f"docker volume {item['Name']}" for item in volumes),
        *(f"network {item['Name']}" for item in networks),
    }


def _loops() -> set[str]:
    """Those whose file is to be seen from here: a container shares the devices of its machine, not the files."""
    found = set()
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            file = path.read_text().strip()
        except OSError:
            continue  # given back meanwhile
        if file.endswith(" (deleted)") or Path(file).exists():
            found.add(f"loop device {path.parts[3]} of {file}")
    return found


def _mounts() -> set[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    places = {line.split()[1] for line in lines}
    # the engine makes this one for the first container that shares the host's network, and keeps it
    return {f"mount {place}" for place in places - {"/run/docker/netns/default"}}


def _firewall() -> set[str]:
    done = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False)
    return {f"firewall rule {line}" for line in done.stdout.splitlines() if line.startswith("-A") and "dcloud" in line}


def _processes() -> set[str]:
    return {f"process {pid} {_command(pid)}" for pid, run in _marked() if run == os.environ[RUN] and pid != os.getpid()}


def _marked() -> list[tuple[int, str]]:
    """Every live process with the mark of a test run, and whose."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # it has ended meanwhile, or is not ours to look into
            prefix = f"{RUN}=".encode()
            found += [(int(folder.name), v[len(prefix) :].decode()) for v in variables if v.startswith(prefix)]
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:120]
    except OSError:
        return "(ended)"
