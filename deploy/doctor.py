"""`dcloud doctor`: each real part that a host needs, what was found of it, and what to do about what is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docker
import pynvml
import redis
import uv
from docker.errors import DockerException, NotFound
from requests.exceptions import RequestException

from common.errors import DCloudError
from common.ledger import Ledger
from common.settings import Settings
from deploy import engine, host, redis_server
from deploy.installation import Installation

PROBE_IMAGE = "python:3.11-slim-bookworm"
PROBE_RELEASE = "bookworm"
NETWORK_SECONDS = 20.0
LEAST_FREE_GB = 10


@dataclass(frozen=True)
class Check:
    """What was found of one part. `ok` is None where it is not there and that is fine."""

    name: str
    ok: bool | None
    found: str
    advice: str = ""  # what to do, where `ok` is not True


def run(settings: Settings | None = None) -> list[Check]:
    """Look at every part, by default of this checkout's installation; none of the looks changes anything."""
    settings = settings or Installation.here().settings()
    return [
        *check_redis(settings),
        check_engine(settings),
        check_registry(settings),
        check_mirror(settings),
        check_index(settings),
        check_loop(),
        check_program("e2fsprogs", "mkfs.ext4", "storage of a fixed size needs it"),
        check_program("iptables", "iptables", "environments are kept apart by it"),
        check_program("mmdebstrap", "mmdebstrap", "base images are made by it where no registry answers"),
        check_gpus(),
        check_worker(settings),
        check_disk(settings),
    ]


def check_redis(settings: Settings) -> list[Check]:
    """Whether Redis answers, is new enough, and keeps what it acknowledged."""
    try:
        with redis.Redis.from_url(settings.redis_url, decode_responses=True, socket_timeout=5) as client:
            info: Any = client.info()
            config: Any = client.config_get("append*", "maxmemory-policy")
    except redis.RedisError as error:
        return [Check("Redis", False, str(error), "Run `make run`, or set DCLOUD_REDIS_URL to a server that runs.")]
    version = str(info.get("valkey_version") or info["redis_version"])
    new_enough = redis_server.numbers(version) >= redis_server.OLDEST
    fsync = f"appendonly {config['appendonly']}, appendfsync {config['appendfsync']}"
    durable = config["appendonly"] == "yes" and config["appendfsync"] == "always"
    policy = config["maxmemory-policy"]
    return [
        Check("Redis", new_enough, version, "" if new_enough else "Install Redis 7 or newer, or Valkey."),
        Check("Redis' persistence", durable, fsync, "" if durable else "Set appendonly yes and appendfsync always."),
        Check(
            "Redis' eviction",
            policy == "noeviction",
            f"maxmemory-policy {policy}",
            "" if policy == "noeviction" else "Set maxmemory-policy noeviction: the ledger may not lose a key.",
        ),
    ]


def check_engine(settings: Settings) -> Check:
    """Whether the Docker engine answers: this user, or root where this user may become root."""
    try:
        client = _engine(settings, timeout_seconds=10)
    except (DockerException, RequestException) as error:
        found = "" if settings.docker_host else engine.version_for_worker()
        advice = (
            "" if found else "Run `make run` as root, or install and start docker.io; may this user use its socket?"
        )
        return Check("Docker engine", bool(found), f"{found}, for root" if found else str(error), advice)
    try:
        version: Any = client.version()
        return Check("Docker engine", True, f"{version['Version']}, API {version['ApiVersion']}")
    finally:
        client.close()


def check_registry(settings: Settings) -> Check:
    """Whether a container registry answers the engine; base images are made here where none does."""
    image = f"{settings.registry}/{PROBE_IMAGE}" if settings.registry else PROBE_IMAGE
    advice = "Base images are made from the package mirror. To use a registry, set DCLOUD_REGISTRY."
    try:
        client = _engine(settings, settings.registry_timeout_seconds)
    except (DockerException, RequestException):
        return Check("container registry", None, "there is no engine to ask it", advice)
    try:
        client.images.get_registry_data(image)
        return Check("container registry", True, f"has {image}")
    except NotFound:
        return Check("container registry", None, f"answers, and has no {image}", advice)
    except (DockerException, RequestException) as error:
        return Check("container registry", None, f"none answers: {_short(error)}", advice)
    finally:
        client.close()


def check_mirror(settings: Settings) -> Check:
    """Whether the package mirror of the distribution answers, asked as apt itself asks it."""
    name, advice = "package mirror", "Base images need it: see that `apt-get update` works, or set DCLOUD_APT_MIRROR."
    form = "$(SITE) $(RELEASE)"
    targets = host.output(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).splitlines()
    site, _, release = targets[0].partition(" ") if targets else ("", "", "")
    if settings.apt_mirror:
        site, release = settings.apt_mirror, PROBE_RELEASE
    helper = Path("/usr/lib/apt/apt-helper")
    if not site or not helper.exists():
        return Check(name, None, "this machine has no apt", "Base images then come from a registry only.")
    with tempfile.TemporaryDirectory() as folder:
        url = f"{site.rstrip('/')}/dists/{release}/InRelease"
        options = ["-o", "Acquire::Retries=0", "-o", f"Acquire::http::Timeout={NETWORK_SECONDS:.0f}"]
        # apt gives up root's rights for a download, and may not write into root's folder then.
        options += ["-o", "APT::Sandbox::User="]
        try:
            done = subprocess.run(
                [str(helper), *options, "download-file", url, f"{folder}/InRelease"],
                capture_output=True,
                text=True,
                timeout=2 * NETWORK_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Check(name, False, f"{site} does not answer", advice)
    return Check(name, True, site) if done.returncode == 0 else Check(name, False, _short(done.stderr), advice)


def check_index(settings: Settings) -> Check:
    """Whether the index of Python packages answers, asked as layers are resolved."""
    name, advice = "Python index", "Set DCLOUD_INDEX_URL, UV_INDEX_URL or PIP_INDEX_URL, and the proxy and CA it needs."
    command = [uv.find_uv_bin(), "pip", "compile", "--quiet", "--no-header", "--no-cache", "--no-deps", "-"]
    if settings.index_url:
        command += ["--index-url", settings.index_url]
    try:
        done = subprocess.run(
            command, input="pip\n", capture_output=True, text=True, timeout=2 * NETWORK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Check(name, False, "does not answer", advice)
    if done.returncode:
        return Check(name, False, _short(done.stderr), advice)
    return Check(name, True, f"answers, newest pip is {done.stdout.partition('==')[2].split()[0]}")


def check_loop() -> Check:
    """Whether there are loop devices: storage of a fixed size is a mounted file."""
    free = host.output([*(host.as_root() or []), host.program("losetup") or "losetup", "--find"])
    if free:
        return Check("loop devices", True, f"the next free one is {free}")
    advice = "Load the module (`modprobe loop`), or give the container that this runs in /dev/loop-control."
    return Check("loop devices", False, "none can be had", advice)


def check_program(name: str, program: str, purpose: str) -> Check:
    """Whether a program of the package `name` is installed."""
    found = host.program(program)
    return Check(name, bool(found), found or "not installed", "" if found else f"apt-get install {name}: {purpose}.")


def check_gpus() -> Check:
    """Which NVIDIA driver there is, and how many GPUs."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return Check("GPU driver", None, "none", "Fine without GPUs. For NVIDIA GPUs, install NVIDIA's driver.")
    try:
        count, driver = pynvml.nvmlDeviceGetCount(), pynvml.nvmlSystemGetDriverVersion()
        return Check("GPU driver", True, f"{driver}, {count} GPUs")
    finally:
        pynvml.nvmlShutdown()


def check_worker(settings: Settings) -> Check:
    """Whether a worker is alive for this host."""
    name, advice = "worker", "Run `make run`; its log is var/log/worker.log."
    try:
        hosts = Ledger.connect(settings).hosts()
    except DCloudError as error:
        return Check(name, False, str(error), "Redis comes first.")
    for member in hosts:
        if member.name == settings.host:
            alive = member.heartbeat_age_seconds < settings.lease_seconds
            found = f"{member.name}, {member.state}, seen {member.heartbeat_age_seconds:.0f} s ago"
            return Check(name, alive, found, "" if alive else advice)
    return Check(name, False, f"none ever ran as {settings.host}", advice)


def check_disk(settings: Settings) -> Check:
    """How much room there is for layers and storage."""
    folder = settings.data_dir.resolve()
    while not folder.exists():
        folder = folder.parent
    free_gb = shutil.disk_usage(folder).free / 1e9
    enough = free_gb >= LEAST_FREE_GB
    advice = "" if enough else f"Free {LEAST_FREE_GB} GB, or put DCLOUD_DATA_DIR on another filesystem."
    return Check("disk space", enough, f"{free_gb:.0f} GB free for {settings.data_dir}", advice)


def _engine(settings: Settings, timeout_seconds: float) -> docker.DockerClient:
    """A client of the engine that answers. Raises DockerException or RequestException where it does not."""
    if settings.docker_host:
        return docker.DockerClient(settings.docker_host, timeout=int(timeout_seconds))
    return docker.from_env(timeout=int(timeout_seconds))


def _short(error: object) -> str:
    """The last line that says something, for one cell of a table."""
    text = getattr(error, "explanation", None) or str(error)  # the engine's own words, without its socket's address
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it says nothing"


def main() -> int:
    """Print the checks of this installation as JSON; 1 where a part is missing."""
    checks = run()
    print(json.dumps([asdict(check) for check in checks], indent=2))
    return 1 if any(check.ok is False for check in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
