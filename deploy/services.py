"""API, worker, Flower and webhooks, as the Procfile names them: started, found running, ended.

A machine that only joins an installation as one more host runs the worker alone.
"""

from __future__ import annotations

import hashlib
import http.client
import shlex
import socket
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from common.ledger import Ledger
from common.settings import Settings
from deploy import host
from deploy.installation import Installation
from deploy.processes import Processes
from deploy.steps import SetupError
from deploy.venv import ROOT

PROCFILE = ROOT / "Procfile"
WORKER = "worker"
AS_ROOT = {WORKER}  # it mounts the environments' storage
READY_SECONDS = 90
STOP_SECONDS = 30


def procfile() -> dict[str, list[str]]:
    """Each process' name and command, in the order in which they start."""
    lines = [line for line in PROCFILE.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return {name.strip(): shlex.split(command) for name, _, command in (line.partition(":") for line in lines)}


def ensure(installation: Installation) -> str:
    """Let all of them run with the saved settings and the present code; returns when the API says that it is ready."""
    settings = installation.settings()
    addresses = {"DCLOUD_API_BIND": settings.api_bind, "DCLOUD_FLOWER_BIND": settings.flower_bind}
    return f"API, worker, Flower and webhooks {_ensure(installation, list(procfile()), addresses)}"


def ensure_worker(installation: Installation) -> str:
    """Let the worker alone run with the saved settings and the present code; returns when it has joined."""
    return f"worker {_ensure(installation, [WORKER], {})}"


def _ensure(installation: Installation, names: Sequence[str], addresses: Mapping[str, str]) -> str:
    """Let `names` run, and no other; what was done. `addresses` must be free for those that are started."""
    processes, settings = installation.processes, installation.settings()
    wanted, stamp = _fingerprint(installation.saved()), processes.records / "services.sha256"
    running = [name for name in procfile() if processes.find(name)]
    if running == names and stamp.exists() and stamp.read_text() == wanted:
        _wait_until_ready(processes, settings, names)
        return "run already" if len(names) > 1 else "runs already"
    stop(processes)
    for variable, address in addresses.items():
        refuse_taken(variable, address)
    began = time.monotonic()
    try:
        for name in names:
            _start(installation, processes, name, procfile()[name])
        _wait_until_ready(processes, settings, names, began)
    except BaseException:
        stop(processes)  # some of them are no DCloud
        raise
    stamp.write_text(wanted)
    return _why_started(names, running)


def stop(processes: Processes) -> list[str]:
    """End all of them, the last started first; the names of those that ran."""
    return [name for name in reversed(procfile()) if processes.stop(name, STOP_SECONDS)]


def _why_started(names: Sequence[str], running: list[str]) -> str:
    ended = [name for name in names if name not in running]
    if not running:
        return "started"
    return f"started again: {', '.join(ended)} had ended" if ended else "started again with what changed"


def _start(installation: Installation, processes: Processes, name: str, command: list[str]) -> None:
    environment = installation.environment()
    root: list[str] = []
    if name in AS_ROOT:
        found = host.as_root()
        if found is None:
            raise SetupError(
                f"The {name} needs root, to mount the storage of environments. Run this as root, or allow this user "
                "sudo without a password."
            )
        root = found
        if root:
            # Nothing in the checkout may come to belong to root, or its user could not remove it.
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
    processes.start(name, command, environment, ROOT, root)


def _fingerprint(saved: Mapping[str, str]) -> str:
    """Of all that the processes have read: where it changes they are started again."""
    digest = hashlib.sha256(repr(sorted(saved.items())).encode())
    folders = (ROOT / name for name in ("api", "common", "workers", "deploy"))
    sources = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    for path in sorted([PROCFILE, *(path for path in sources if "__pycache__" not in path.parts)]):
        digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


def refuse_taken(variable: str, address: str) -> None:
    """Raise SetupError, with the setting that chooses another, where `address` cannot be listened on."""
    name, _, port = address.rpartition(":")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((name, int(port)))
        except (OSError, ValueError) as error:
            raise SetupError(
                f"{address} cannot be listened on ({error}). Choose another address, for instance "
                f"`{variable}={name or '127.0.0.1'}:{int(port) + 100 if port.isdigit() else 8100} make run`."
            ) from error


def _wait_until_ready(
    processes: Processes, settings: Settings, names: Sequence[str], worker_began: float | None = None
) -> None:
    """Return when the API, if it is one of them, is ready and, where it was just started, the worker has joined."""
    deadline = time.monotonic() + READY_SECONDS
    alone = list(names) == [WORKER]
    while not ((alone or _ready(settings.url)) and (worker_began is None or _joined(settings, worker_began))):
        for name in names:
            if processes.find(name) is None:
                raise SetupError(f"The {name} ended right after its start.", processes.logs / f"{name}.log")
        if time.monotonic() > deadline:
            late = "The worker did not join" if alone else f"{settings.url}/readyz did not say ready"
            raise SetupError(f"{late} within {READY_SECONDS} s.", processes.logs / "worker.log")
        time.sleep(0.1)


def _joined(settings: Settings, since: float) -> bool:
    """Whether a worker has given a sign of life for this host since then: an earlier one's may not have faded yet."""
    hosts = Ledger.connect(settings).hosts()
    ages = [member.heartbeat_age_seconds for member in hosts if member.name == settings.host]
    return any(age < time.monotonic() - since for age in ages)


def _ready(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
