"""Settings, read once from `DCLOUD_*` into one frozen object.

Every field is one variable: `redis_url` is `DCLOUD_REDIS_URL`. The comment gives unit and meaning.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from common.addresses import is_loopback
from common.errors import SettingsError

HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """All settings with their defaults. Build one with `Settings.from_env`."""

    redis_url: str  # redis[s]://[user:password@]host:port/db, or unix://path; the ledger and Celery's broker
    redis_seconds: float = 4.0  # that a request waits in all for a Redis that does not answer; then it is told 503
    redis_bind: str = ""  # addresses, between spaces, at which other machines reach the Redis that `make run` starts
    key_prefix: str = "dcloud"  # every key in Redis begins with it
    var_dir: Path = Path("var")  # logs, pids and local credentials
    data_dir: Path = Path("var/data")  # layers, caches and volumes of this host; one local filesystem
    host_name: str = ""  # name of this host in the ledger; empty is the machine's own
    capacity_cpu: str = ""  # cores that may be given out; empty is all
    capacity_ram: str = ""  # RAM that may be given out; empty is what the machine has less 1 GiB
    capacity_storage: str = ""  # storage that may be given out; empty is 80 % of what is free
    storage: str = ""  # what limits new environments' storage: loop or quota (XFS); empty is loop, else quota
    seccomp_profile: str = "/usr/share/containers/seccomp.json"  # quota begins with it; the distribution's own
    worker_threads: int = 8  # environments that one host builds or starts at the same time
    heartbeat_seconds: float = 10.0  # time between a host's heartbeats
    lease_seconds: float = 40.0  # silence after which a host counts as lost
    sweep_seconds: float = 30.0  # time between two looks at the queue and at the engine, jittered
    orphan_grace_seconds: float = 60.0  # age at which a container of ours without an allocation is removed
    store_limit: str = "100GB"  # cap on layers and wheels together; what is in use stays
    catalogue: str = ""  # file with the operating systems and Pythons on offer; empty is workers/catalogue.yaml
    registry: str = ""  # prefix of a registry for base images, as in registry.lab:5000; empty is the engine's default
    registry_timeout_seconds: float = 15.0  # a registry that does not answer by then counts as absent
    apt_mirror: str = ""  # package mirror for base images; empty is what the host's own apt uses
    python_mirror: str = ""  # mirror of uv's builds of Python; empty is UV_PYTHON_INSTALL_MIRROR or their publisher
    index_url: str = ""  # Python package index for layers; empty is what UV_*, PIP_* and pip's configuration name
    torch_index: str = "https://download.pytorch.org/whl/BUILD"  # where each BUILD of torch (cpu, cu128) is
    source_builds: str = ""  # yes lets libraries without wheels be built from source, in builders that are thrown away
    lock_ttl_seconds: float = 3600.0  # age until which the same request for libraries is not resolved again
    pids_limit: int = 1024  # processes and threads that one environment may have
    session_idle_seconds: float = 1800.0  # silence both ways after which a terminal inside is closed; 0 is never
    network_subnet: str = ""  # subnet of the bridge for environments, as in 10.77.0.0/16; empty lets the engine choose
    network_allow: str = ""  # comma-separated address[:port] in private ranges that environments may reach
    docker_host: str = ""  # address of the Docker engine; empty is what DOCKER_HOST or the default socket say
    api_bind: str = "127.0.0.1:8000"  # address the API listens on
    metrics_bind: str = ""  # address:port at which a worker answers Prometheus; empty is nowhere
    api_url: str = ""  # address under which clients reach the API; empty is http://{api_bind}
    rate_limit: int = 12000  # requests a minute that one user may make, counted by 10 seconds; 0 is no limit
    stream_limit: int = 200  # streams and waiting answers that one user may have at an API process; 0 is no limit
    proxies: int = 0  # reverse proxies in front of the API whose X-Forwarded-For and -Proto are believed
    oidc_issuer: str = ""  # OpenID provider that signs people in, as in https://id.lab.example; empty is none
    oidc_client_id: str = ""  # what the provider calls DCloud
    oidc_client_secret: str = ""  # its secret; empty is a public client
    oidc_scopes: str = "openid profile email"  # what is asked of the provider; some need groups for the groups
    oidc_name_claim: str = "preferred_username"  # claim that names the account at its first sign-in
    oidc_groups_claim: str = "groups"  # claim with the person's groups
    oidc_admin_groups: str = ""  # comma-separated groups whose members are admins
    oidc_user_groups: str = ""  # comma-separated groups whose members may sign in; empty is everyone
    flower_bind: str = "127.0.0.1:5555"  # address Flower listens on
    webhook_allow: str = ""  # comma-separated private networks that webhooks may be sent to, as in 10.0.0.0/8
    environment_ttl_seconds: int = 604800  # how long the record of a deleted or failed environment is kept

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Read `DCLOUD_*`; raises SettingsError naming the variable and what it should be."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            name = f"DCLOUD_{field.name.upper()}"
            text = env.get(name, "").strip()
            if text:
                values[field.name] = _parse(name, text, str(field.type))
            elif field.default is MISSING:
                raise SettingsError(
                    f"{name} is not set. `make run` sets it; see docs/operations.md for what it should be."
                )
        settings = cls(**values)
        if not HOST_NAME.fullmatch(settings.host):
            raise SettingsError(
                f"DCLOUD_HOST_NAME is {settings.host!r}; a host name has 1 to 63 of a-z, 0-9, '.' and '-', "
                "and begins and ends with a letter or digit."
            )
        if settings.oidc_issuer:
            _check_provider(settings)
        return settings

    @property
    def host(self) -> str:
        """This host's name in the ledger."""
        return self.host_name or socket.gethostname().lower()

    @property
    def url(self) -> str:
        """Where clients reach the API."""
        return self.api_url or f"http://{self.api_bind}"


@cache
def settings() -> Settings:
    """This process's settings, read from the environment at the first call."""
    return Settings.from_env()


def _check_provider(settings: Settings) -> None:
    issuer = settings.oidc_issuer
    if not issuer.startswith("https://") and not (issuer.startswith("http://") and is_loopback(issuer)):
        raise SettingsError(f"DCLOUD_OIDC_ISSUER is {issuer!r}; it begins with https://, for what it says is believed.")
    if not settings.oidc_client_id:
        raise SettingsError("DCLOUD_OIDC_CLIENT_ID is not set; it is what the provider calls DCloud.")


def _parse(name: str, text: str, kind: str) -> object:
    try:
        match kind:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "Path":
                return Path(text).expanduser().resolve()
    except ValueError:
        raise SettingsError(f"{name} is {text!r}; it must be a number.") from None
    return text
