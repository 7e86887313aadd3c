"""Layers: trees of installed libraries, named by what decides their content and shared by everyone.

data_dir/store/layers/<key>/   the tree, a virtual environment; containers see it at /opt/dcloud/layers/<key>
data_dir/layers/<key>.json     its seal; see `seals.py`
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from common import lockfile
from common.errors import ProvisionError
from common.settings import Settings
from common.states import Reason
from workers.builders import STORE, Builder, Builders
from workers.filelocks import held
from workers.images import BaseImage
from workers.installation import COMPILE, FLAGS, Installation, Log, Progress
from workers.seals import Seals
from workers.source_builds import SourceBuilds
from workers.torch_builds import TorchBuilds

_COMPILER = hashlib.sha256(repr(COMPILE).encode()).hexdigest()[:8]  # another one compiles what is unpacked again


@dataclass(frozen=True)
class Layer:
    """A sealed layer."""

    key: str
    tree: Path  # on the host
    lock: str

    @property
    def path(self) -> str:
        """Where containers see it."""
        return f"{STORE}/layers/{self.key}"


class Layers:
    """The layers of this machine. Several processes may ask for the same at once; one installs it."""

    def __init__(
        self,
        settings: Settings,
        builders: Builders,
        builds: TorchBuilds,
        source_builds: SourceBuilds,
        uv_version: str,
    ):
        self.builders = builders
        self.builds = builds
        self.source_builds = source_builds
        self.uv_version = uv_version
        self.locks = settings.data_dir / "locks"
        self.seals = Seals(settings.data_dir / "layers")
        self.compiled = settings.data_dir / "compiled"

    def key(self, base: BaseImage, lock: str) -> str:
        """The same for the same content. A lock names the builds of its libraries."""
        parts = (base.key, base.python, base.interpreter, lock, self.uv_version, *FLAGS, repr(COMPILE))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def find(self, base: BaseImage, lock: str, made_as: str = "") -> Layer | None:
        """The layer, if it is here and sealed. First the one of the key `made_as`, which an older uv may have made."""
        for key in (made_as, self.key(base, lock)):
            tree = self.builders.store / "layers" / key
            if key and self.seals.hold(key) and tree.is_dir():
                self.seals.used(key)
                return Layer(key, tree, lock)
        return None

    def install(self, builder: Builder, base: BaseImage, lock: str, progress: Progress, log: Log) -> Layer:
        """The layer, installed and sealed if it was not. Raises ProvisionError."""
        key = self.key(base, lock)
        waiting = "Waiting for the same libraries, which are being installed for another environment"
        with held(self.locks / f"layer-{key}", lambda: progress(0, waiting)):
            found = self.find(base, lock)
            if found is None:
                cache = self.builders.cache(base)
                marks = self.compiled / f"{cache.name}-{_COMPILER}"
                store = self.builders.store
                options = self._options(base, lock)
                where = (builder, base, store, cache, marks, self.locks)
                on_disk = Installation(*where, key, lock, options, progress, log).make()
                self.seals.write(key, lock, on_disk)
                found = self.find(base, lock)
        if found is None:
            raise ProvisionError(Reason.LIBRARIES_NOT_INSTALLED, "The libraries vanished from the host. Try again.")
        return found

    def _options(self, base: BaseImage, lock: str) -> tuple[str, ...]:
        """Where the wheels of a lock are, beside the places of the machine."""
        pins = lockfile.read(lock)
        indexes = (f"--index={address}" for address in self.builds.indexes(pins, base.python_minor))
        places = self.source_builds.places({value for pin in pins for value in pin.hashes})
        return (*indexes, *(f"--find-links={place}" for place in places))
