"""Confinement: what an environment's container may see and use. Nothing else decides it.

`docs/security.md` lists what is in here, item by item, with the reasons.
"""

from __future__ import annotations

import math
import re
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.environment import Job
from common.settings import Settings
from common.units import MIB
from workers.engine import ENV, HOST, ORIGIN, OWNER, PREFIX, STORAGE, TOKEN
from workers.images import BaseImage
from workers.layers import Layer
from workers.sources import Sources
from workers.volumes import USER, Volume

HOME = "/home/user"
WORKSPACE = "/workspace"
TMPFS_SHARE = 2  # /tmp and /dev/shm hold half of the RAM each at most, and count as RAM
LOG_OPTIONS = {"max-size": "10m", "max-file": "3"}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS")
CPU_PERIOD_MICROSECONDS = 100_000
CDI_KIND = "nvidia.com/gpu"

# The main process waits to be told to end. Then it passes that on to everything that runs inside, so that
# programs can save their work, and waits until they are gone (two are left: the init and itself). Where what it waits
# for is killed, by a kernel that wants RAM for instance, its exit code says so.
MAIN = """
end() {
    kill -TERM -1
    while set -- /proc/[0-9]*; [ $# -gt 2 ]; do sleep 0.1; done
    exit 143
}
trap end TERM
sleep infinity &
wait $!
"""

# Where this machine may not raise limits the engine may not either, and would start nothing.
OPEN_FILES = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


@dataclass(frozen=True)
class Place:
    """What was made for a job before its container."""

    base: BaseImage
    layer: Layer
    volume: Volume
    network: str
    sources: Sources
    cdi: bool = False  # GPUs are handed over by the engine's own means (CDI) and not by NVIDIA's hook


def body(job: Job, place: Place, settings: Settings) -> dict[str, Any]:
    """The Engine API body that creates the container of `job`. Nothing else decides what a container has."""
    return {
        "Image": place.base.tag,
        "Hostname": hostname(job.name, job.id),
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
            ORIGIN: job.origin,
            STORAGE: f"{job.contract.resources.storage_mib}MiB",
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
        "SecurityOpt": ["no-new-privileges", *_seccomp(place.volume)],
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "NetworkMode": place.network,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "json-file", "Config": LOG_OPTIONS},
    }
    if job.gpus:
        config["DeviceRequests"] = [_device_request(job.gpus, place.cdi)]
    return config


def _seccomp(volume: Volume) -> list[str]:
    """A profile where the storage's limit needs one, nothing where the engine's default will do."""
    return [f"seccomp={volume.seccomp}"] if volume.seccomp else []


def _device_request(uuids: Sequence[str], cdi: bool) -> dict[str, Any]:
    """GPUs by UUID, never by count: which ones is the ledger's to say."""
    if cdi:
        return {"Driver": "cdi", "DeviceIDs": [f"{CDI_KIND}={uuid}" for uuid in uuids]}
    return {"Driver": "nvidia", "DeviceIDs": list(uuids), "Capabilities": [["gpu", "compute", "utility"]]}


def variables(job: Job, place: Place) -> dict[str, str]:
    """The container's environment variables."""
    cores = str(max(1, math.ceil(job.contract.resources.cpu_milli / 1000)))
    values = {
        **place.sources.user_env,
        "LANG": "C.UTF-8",
        **dict.fromkeys(THREAD_VARIABLES, cores),
        **dict(job.contract.variables),
        "PATH": f"{place.layer.path}/bin:{HOME}/.local/bin:/usr/local/bin:/usr/bin:/bin",
        "VIRTUAL_ENV": place.layer.path,
        "HOME": HOME,
        "USER": "user",
        "DCLOUD_ENVIRONMENT": job.id,
    }
    if not job.gpus or place.cdi:
        values["NVIDIA_VISIBLE_DEVICES"] = "void"  # an engine that runs everything by NVIDIA's runtime gives none
    return values


def hostname(name: str, env_id: str) -> str:
    """The nearest that a host may be called: letters, digits and '-', at most 63. No two environments have the same.

    Others may look it up, so it is nothing that a proxy or an index could be called.
    """
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', name)[: 62 - len(env_id)].strip('-')}-{env_id}".lstrip("-")


def overlay_name(env_id: str) -> str:
    """The name of the engine's volume that lays an environment's changes over its layer."""
    return f"dcloud-{env_id}"


def _bind(source: str, target: str, read_only: bool = False) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }
