"""Containers: what an environment may see and use, and its container's life.

`docs/security.md` lists what is in here, item by item, with the reasons.
"""

from __future__ import annotations

import math
import re
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.environment import Job
from common.errors import NotFound, ProvisionError, StaleToken
from common.settings import Settings
from common.states import Reason
from common.units import MIB
from workers.engine import ENV, HOST, OWNER, PREFIX, TOKEN, Engine, EngineConflict, EngineError, EngineUnavailable
from workers.execution import Exec
from workers.images import BaseImage
from workers.layers import Layer
from workers.network import Network
from workers.sources import Sources
from workers.volumes import USER, Volume

HOME = "/home/user"
WORKSPACE = "/workspace"
TMPFS_SHARE = 2  # /tmp and /dev/shm hold half of the RAM each at most, and count as RAM
LOG_OPTIONS = {"max-size": "10m", "max-file": "3"}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS")
CPU_PERIOD_MICROSECONDS = 100_000

# The main process waits to be told to end. Then it passes that on to everything that runs inside, so that
# programs can save their work, and waits until they are gone (two are left: the init and itself).
MAIN = """
end() {
    kill -TERM -1
    while set -- /proc/[0-9]*; [ $# -gt 2 ]; do sleep 0.1; done
    exit 143
}
trap end TERM
sleep infinity &
wait
"""

# Where this machine may not raise limits the engine may not either, and would start nothing.
OPEN_FILES = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


@dataclass(frozen=True)
class Found:
    """A container of ours on this host."""

    env_id: str
    token: int
    container_id: str
    name: str
    host: str
    running: bool
    exit_code: int | None  # None while it runs, and before it first ran
    oom_killed: bool
    created_at: float  # seconds since the epoch, by the engine's clock


@dataclass(frozen=True)
class Place:
    """What was made for a job before its container."""

    base: BaseImage
    layer: Layer
    volume: Volume
    network: str
    sources: Sources


def body(job: Job, place: Place, settings: Settings) -> dict[str, Any]:
    """The Engine API body that creates the container of `job`. Nothing else decides what a container has."""
    return {
        "Image": place.base.tag,
        "Hostname": hostname(job.name),
        "User": f"{USER}:{USER}",
        "WorkingDir": WORKSPACE,
        "Entrypoint": [""],  # the image's own is not run
        "Healthcheck": {"Test": ["NONE"]},
        "Cmd": ["sh", "-c", MAIN],
        "Env": [f"{name}={value}" for name, value in variables(job, place).items()],
        "Labels": {
            ENV: job.id,
            TOKEN: str(job.token),
            HOST: settings.host,
            OWNER: job.owner,
            PREFIX: settings.key_prefix,
        },
        "HostConfig": host_config(job, place, settings),
    }


def host_config(job: Job, place: Place, settings: Settings) -> dict[str, Any]:
    """Limits and confinement, as the Engine API takes them."""
    asked = job.contract.resources
    ram = asked.ram_mib * MIB
    mounts = [
        _bind(str(place.volume.home), HOME),
        _bind(str(place.volume.workspace), WORKSPACE),
        {
            "Type": "volume",
            "Source": overlay_name(job.id),
            "Target": place.layer.path,
            "VolumeOptions": {"NoCopy": True},
        },
        *(_bind(source, target, read_only=True) for source, target in place.sources.mounts),
    ]
    config: dict[str, Any] = {
        "Init": True,
        "ReadonlyRootfs": True,
        "Mounts": mounts,
        "Tmpfs": {
            "/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={ram // TMPFS_SHARE}",  # noqa: S108
            "/run": f"rw,nosuid,nodev,noexec,uid={USER},gid={USER},mode=755,size={min(ram // 8, 64 * MIB)}",
        },
        "ShmSize": ram // TMPFS_SHARE,
        "Memory": ram,
        "MemorySwap": ram,  # memory and swap together: no swap
        "CpuPeriod": CPU_PERIOD_MICROSECONDS,
        "CpuQuota": asked.cpu_milli * CPU_PERIOD_MICROSECONDS // 1000,
        "PidsLimit": settings.pids_limit,
        "Ulimits": [
            {"Name": "nofile", "Soft": OPEN_FILES, "Hard": OPEN_FILES},
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "NetworkMode": place.network,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "json-file", "Config": LOG_OPTIONS},
    }
    if job.gpus:
        config["DeviceRequests"] = [
            {"Driver": "nvidia", "DeviceIDs": list(job.gpus), "Capabilities": [["gpu", "compute", "utility"]]}
        ]
    return config


def variables(job: Job, place: Place) -> dict[str, str]:
    """The container's environment variables."""
    cores = str(max(1, math.ceil(job.contract.resources.cpu_milli / 1000)))
    values = {
        **place.sources.user_env,
        "PATH": f"{place.layer.path}/bin:{HOME}/.local/bin:/usr/local/bin:/usr/bin:/bin",
        "VIRTUAL_ENV": place.layer.path,
        "HOME": HOME,
        "USER": "user",
        "LANG": "C.UTF-8",
        "DCLOUD_ENVIRONMENT": job.id,
        **dict.fromkeys(THREAD_VARIABLES, cores),
    }
    if not job.gpus:
        values["NVIDIA_VISIBLE_DEVICES"] = "void"  # an engine that runs everything by NVIDIA's runtime gives none
    return values


def hostname(name: str) -> str:
    """The nearest that a host may be called: letters, digits and '-', at most 63."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")[:63].rstrip("-") or "environment"


def overlay_name(env_id: str) -> str:
    """The name of the engine's volume that lays an environment's changes over its layer."""
    return f"dcloud-{env_id}"


class Containers:
    """The containers of this host."""

    def __init__(self, settings: Settings, engine: Engine, network: Network):
        self.settings = settings
        self.engine = engine
        self.network = network

    def take_over(self, job: Job) -> str:
        """The container that an earlier attempt with this token left, "" where there is none.

        What an older token left is removed, under whatever host name of this machine it was made.
        Raises StaleToken where a newer one exists.
        """
        mine = ""
        for found in self._of(job.id):
            if found.token > job.token:
                raise StaleToken(f"A container with the newer token {found.token} exists.")
            if found.token == job.token and found.host == self.settings.host and not mine:
                mine = found.container_id
            else:
                self.engine.remove(found.container_id)
        return mine

    def start(self, job: Job, place: Place, container_id: str) -> str:
        """Start the container that was taken over, or else a new one; its id. Raises ProvisionError."""
        try:
            if not container_id:
                self._lay_over(job, place)
                container_id = self._create(job, place)
            self.engine.start(container_id)
        except EngineUnavailable as error:
            raise ProvisionError(
                Reason.CONTAINER_NOT_STARTED, "The Docker engine of the host does not answer.", str(error)
            ) from error
        except EngineError as error:
            self.stop(job.id, 0)
            self.uncover(job.id)
            raise ProvisionError(
                Reason.CONTAINER_NOT_STARTED, f"The engine refused to start the container: {error}", str(error)
            ) from error
        return container_id

    def _lay_over(self, job: Job, place: Place) -> None:
        """The engine's volume that mounts the layer with its upper side on the environment's storage."""
        upper, work = place.volume.upper(place.layer.key)
        options = f"lowerdir={place.layer.tree.absolute()},upperdir={upper.absolute()},workdir={work.absolute()}"
        name = overlay_name(job.id)
        self.engine.remove_volume(name)  # one of an earlier attempt may lie over another layer
        self.engine.create_volume(
            name,
            {"type": "overlay", "device": "overlay", "o": f"nosuid,nodev,{options}"},
            {ENV: job.id, HOST: self.settings.host, PREFIX: self.settings.key_prefix},
        )

    def _create(self, job: Job, place: Place) -> str:
        name = f"dcloud-{job.name}-{job.id}"
        try:
            return self.engine.create(body(job, place, self.settings), name)
        except EngineConflict as error:
            raise EngineError(
                f"Another container has the name {name}. Its operator can remove it. ({error})"
            ) from error

    def stop(self, env_id: str, grace_seconds: float) -> None:
        """End and remove this host's container of an environment; fine where there is none."""
        for found in self._of(env_id):
            if found.host == self.settings.host:
                if found.running and grace_seconds > 0:
                    self.engine.stop(found.container_id, grace_seconds)
                self.engine.remove(found.container_id)

    def uncover(self, env_id: str) -> None:
        """Remove what was laid over the layer; fine where there is nothing. After `stop`."""
        self.engine.remove_volume(overlay_name(env_id))

    def all(self) -> list[Found]:
        """Ours that carry this host's name."""
        rows = self.engine.containers(ENV, f"{HOST}={self.settings.host}")
        return [found for row in rows if (found := _found(row))]

    def exec(self, env_id: str, command: Sequence[str], tty: bool) -> Exec:
        """Run a command in the environment, as its user. Raises NotFound."""
        found = self._one(env_id)
        if not found.running:
            raise NotFound("The environment does not run now. Start it and try again.")
        return Exec(self.engine, found.container_id, command, tty)

    def logs(self, env_id: str, tail: int, follow: bool) -> Iterator[bytes]:
        """What the container's main process wrote. Raises NotFound."""
        return self.engine.logs(self._one(env_id).container_id, tail, follow)

    def _one(self, env_id: str) -> Found:
        for found in self._of(env_id):
            if found.host == self.settings.host:
                return found
        raise NotFound("The environment has no container now. Start it and try again.")

    def _of(self, env_id: str) -> list[Found]:
        rows = self.engine.containers(f"{ENV}={env_id}")
        return [found for row in rows if (found := _found(row))]


def _bind(source: str, target: str, read_only: bool = False) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }


def _found(row: dict[str, Any]) -> Found | None:
    labels, state = row["Config"]["Labels"], row["State"]
    if not labels.get(TOKEN, "").isdigit():
        return None
    ran = not state["StartedAt"].startswith("0001")
    return Found(
        env_id=labels[ENV],
        token=int(labels[TOKEN]),
        container_id=row["Id"],
        name=row["Name"].lstrip("/"),
        host=labels[HOST],
        running=bool(state["Running"]),
        exit_code=None if state["Running"] or not ran else int(state["ExitCode"]),
        oom_killed=bool(state["OOMKilled"]),
        created_at=datetime.fromisoformat(re.sub(r"\.\d+", "", row["Created"]).replace("Z", "+00:00")).timestamp(),
    )
