"""The flow on a host: base image, layer, volume, container. Each step can be run again.

`Host` has the parts of one machine, built once a process, and is what the tasks and the reconciler call.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import uv

from common.environment import Job
from common.errors import ProvisionError, SettingsError
from common.inventory import Inventory
from common.settings import Settings
from common.states import Phase, Reason
from workers import catalogue, frameworks, gpus, inventory
from workers.builders import Builders
from workers.cards import Cards
from workers.cdi import offers
from workers.confinement import Place
from workers.containers import Containers, Found
from workers.engine import BUILDER, ENV, HOST, Engine, EngineError, LogStream
from workers.execution import Exec
from workers.frameworks import Accelerator
from workers.images import BaseImage, Images
from workers.layers import Layer, Layers
from workers.libraries import Libraries, Told
from workers.network import Network
from workers.resolutions import Resolutions
from workers.source_builds import SourceBuilds
from workers.sources import sources
from workers.store import Store
from workers.torch_builds import TorchBuilds
from workers.volumes import Fill, Volumes

__all__ = ["Exec", "Found", "Host", "Report"]

log = logging.getLogger(__name__)


class Report(Protocol):
    """Where the flow says how far it is. Any of these may raise, which ends the flow."""

    def phase(self, phase: Phase, fraction: float, message: str) -> None:
        """`fraction` is 0 to 1 within the phase."""

    def starting(self) -> None:
        """Everything is made but the container."""

    def log(self, line: str) -> None:
        """A line for the build log."""

    def warn(self, sentence: str) -> None:
        """Something that the user should know of what was made."""

    def locked(self, lock: str) -> None:
        """The libraries with versions and hashes, for the user to keep."""


class Host:
    """One machine's parts. Thread safe; one thread at a time may work on one environment."""

    def __init__(self, settings: Settings):
        _check(settings)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        settings.data_dir.chmod(0o700)
        self.settings = settings
        self.catalogue = catalogue.read(settings)
        self.engine = Engine(settings)
        self.sources = sources(settings)
        self.network = Network(settings, self.engine, self.sources)
        self.images = Images(settings, self.engine, self.sources, self.catalogue)
        self.volumes_ = Volumes(settings)
        self.containers_ = Containers(settings, self.engine)
        self.cards = Cards()
        builders = Builders(settings, self.engine, self.network, self.sources)
        self.builders = builders
        builds = TorchBuilds(settings, self.sources)
        source_builds = SourceBuilds(settings, builders)
        self.resolutions = Resolutions(settings, builders, builds, _uv_version())
        self.layers = Layers(settings, builders, builds, source_builds, _uv_version())
        self.libraries = Libraries(builders, self.resolutions, self.layers, source_builds)
        self.store = Store(settings)
        self._tidying = threading.Lock()
        self._remove_builders()
        self.network.ready()

    def inventory(self) -> Inventory:
        """What this host has now."""
        return inventory.gather(self.settings, self.engine.version, self.cards, self.volumes_, self.images.offers())

    def start(self, job: Job, report: Report) -> str:
        """Make everything that `job` needs and start its container; the container's id.

        Raises ProvisionError, and whatever `report` raises. Can be run again after any end.
        """
        try:
            base = self.images.get(job.contract, lambda f, said: report.phase(Phase.IMAGE, f, said), report.log)
            with self.store.used():  # until the storage says which layer it needs
                layer = self._layer(job, base, report)
                report.locked(layer.lock)
                report.phase(Phase.STORAGE, 0, "Making the storage")
                container_id = self.containers_.take_over(job)
                volume = self.volumes_.open(job.id, job.contract.resources.storage_mib)
                volume.pin(base.key, job.contract.libraries, layer.lock, layer.key)
            report.phase(Phase.STORAGE, 1, "Storage is ready")
            report.starting()
            cdi = bool(job.gpus) and offers(self.engine.cdi_directories(), job.gpus)
            place = Place(base, layer, volume, self.network.ready(), self.sources, cdi)
            return self.containers_.start(job, place, container_id)
        except EngineError as error:
            raise ProvisionError(
                Reason.CONTAINER_NOT_STARTED, f"The engine of the host refused a step: {error}", str(error)
            ) from error

    def stop(self, env_id: str, grace_seconds: float = 10) -> None:
        """The container is gone, the storage kept. Fine where there is none."""
        self.containers_.stop(env_id, grace_seconds)
        if self.volumes_.mine(env_id):
            self.containers_.uncover(env_id)
            self.volumes_.close(env_id)

    def remove(self, env_id: str) -> None:
        """Everything of the environment is gone from this host. Fine where there is nothing."""
        self.containers_.stop(env_id, 0)
        if self.volumes_.mine(env_id):
            self.containers_.uncover(env_id)
            self.volumes_.remove(env_id)

    def containers(self) -> list[Found]:
        """Ours that carry this host's name."""
        return self.containers_.all()

    def living(self) -> list[Found]:
        """Those that run or are paused."""
        return self.containers_.living()

    def container(self, container_id: str) -> Found | None:
        """One of ours, None where it is gone or about to be."""
        return self.containers_.find(container_id)

    def events(self, kinds: Sequence[str], since: str) -> Iterator[dict[str, Any]]:
        """What happens to containers that carry this host's name, as the engine tells it."""
        return self.engine.events([ENV, f"{HOST}={self.settings.host}"], kinds, since)

    def fill(self, env_id: str) -> Fill | None:
        """How full an environment's storage is, None where it is not mounted."""
        return self.volumes_.fill(env_id)

    def volumes(self) -> list[str]:
        """Environments whose storage lies on this host."""
        return self.volumes_.all()

    def accelerator(self, count: int) -> Accelerator:
        """What an environment with so many of this host's GPUs computes on."""
        return frameworks.accelerator(count, gpus.driver().version if count else "")

    def traces(self) -> set[str]:
        """Environments of which this host has a container, an overlay or files."""
        return {found.env_id for found in self.containers()} | self.containers_.covered() | set(self.volumes())

    def mounted(self, env_id: str) -> bool:
        """Whether an environment's storage is in use, or a container could use it."""
        return self.fill(env_id) is not None or env_id in self.containers_.covered()

    def tend(self) -> None:
        """Put back what others may have taken away: the bridge and the rules of this host. Make room in the store."""
        self.network.ready()
        if not self._tidying.locked():
            threading.Thread(target=self._tidy, name="store", daemon=True).start()

    def _tidy(self) -> None:
        with self._tidying:
            try:
                self.store.tidy()
            except (OSError, ValueError, KeyError, subprocess.SubprocessError):
                log.exception("the store could not be tidied")

    def teardown(self) -> None:
        """Take away what no environment owns: builders, bridge, firewall rules. After all are stopped."""
        self.builders.close()
        self._remove_builders()
        with suppress(EngineError):  # another host name on this machine still uses it
            self.network.remove()

    def close(self) -> None:
        """Give the engine's connections back."""
        self.engine.close()

    def exec(self, env_id: str, command: Sequence[str], tty: bool) -> Exec:
        """A command in the environment, as its user. Raises NotFound, EngineError."""
        return self.containers_.exec(env_id, command, tty)

    def logs(self, env_id: str, tail: int, follow: bool, since: str, timestamps: bool) -> LogStream:
        """What the container's main process wrote, as `Engine.logs` has it. Raises NotFound."""
        return self.containers_.logs(env_id, tail, follow, since, timestamps)

    def _layer(self, job: Job, base: BaseImage, report: Report) -> Layer:
        """The layer of the job's libraries, in builds for its GPUs."""
        pinned = self.volumes_.get(job.id).pinned(base.key, job.contract.libraries)
        told = Told(lambda f, said: report.phase(Phase.LIBRARIES, f, said), report.log, report.warn)
        return self.libraries.layer(job, base, pinned, self.accelerator(len(job.gpus)), told)

    def _remove_builders(self) -> None:
        """Builders whose process has ended: a worker that was killed leaves them."""
        for row in self.engine.containers(BUILDER, f"{HOST}={self.settings.host}"):
            if not _lives(row["Config"]["Labels"][BUILDER]):
                self.engine.remove(row["Id"])


def _lives(pid: str) -> bool:
    """Whether a process runs. One that nobody waits for, as in a container without an init, has ended all the same."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _check(settings: Settings) -> None:
    text = str(settings.data_dir)
    if any(character in text for character in ':, \t\n"\\'):
        raise SettingsError(
            f"DCLOUD_DATA_DIR is {text!r}; it becomes part of mount options and may not have ':', ',', '\"', "
            "'\\' or spaces."
        )
    for tool in ("mkfs.ext4", "mount", "iptables"):
        if shutil.which(tool) is None:
            raise SettingsError(f"{tool} is missing on this host. Install it: apt-get install e2fsprogs mount iptables")


def _uv_version() -> str:
    said = subprocess.run([uv.find_uv_bin(), "--version"], check=True, capture_output=True, text=True, timeout=60)
    return said.stdout.split()[1]
