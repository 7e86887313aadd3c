"""From the libraries of a contract to a sealed layer: which lock, whether its builds will do, and the installation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from common import lockfile
from common.environment import Job
from common.errors import ProvisionError
from common.states import Reason
from workers import frameworks
from workers.builders import Builder, Builders
from workers.frameworks import Accelerator
from workers.images import BaseImage
from workers.layers import Layer, Layers
from workers.resolutions import Resolutions
from workers.source_builds import SourceBuilds

RESOLVED = 0.15  # share of the phase that resolving takes


@dataclass(frozen=True)
class Told:
    """Where it is told how far this is."""

    progress: Callable[[float, str], None]
    log: Callable[[str], None]
    warn: Callable[[str], None]  # something that the user should know of what was made


class Libraries:
    """The libraries of this machine."""

    def __init__(self, builders: Builders, resolutions: Resolutions, layers: Layers, source_builds: SourceBuilds):
        self.builders = builders
        self.source_builds = source_builds
        self.resolutions = resolutions
        self.layers = layers

    def layer(self, job: Job, base: BaseImage, pinned: tuple[str, str], wanted: Accelerator, told: Told) -> Layer:
        """The layer of a job: its contract's own lock, the one that its storage was made with, or a new one.

        `pinned` is that lock and the key of its layer, "" each where there are none: an upper side fits one layer only.

        Raises ProvisionError, EngineError and what `told` raises.
        """
        lock = job.contract.lock or pinned[0] or self.resolutions.known(base, job.contract.libraries, wanted)
        made_as = pinned[1] if lock == pinned[0] else ""
        found = self._here(base, lock, wanted, told, made_as) if lock else None
        if found is None:
            told.progress(0, "Resolving the libraries")
            with self.builders.builder(base) as builder:
                if lock is None:
                    lock = self._resolved(job, builder, base, wanted, told)
                found = self._here(base, lock, wanted, told) or self.layers.install(
                    builder, base, lock, lambda f, said: told.progress(RESOLVED + (1 - RESOLVED) * f, said), told.log
                )
        told.progress(1, "Libraries are ready")
        return found

    def _resolved(self, job: Job, builder: Builder, base: BaseImage, wanted: Accelerator, told: Told) -> str:
        def tick() -> None:
            told.progress(RESOLVED / 2, "Resolving the libraries")

        question = (builder, base, job.contract.libraries, wanted, tick, told.log)
        try:
            return self.resolutions.resolve(*question)
        except ProvisionError as error:
            if not self.source_builds.allowed or error.reason != Reason.LIBRARIES_UNRESOLVABLE:
                raise
            told.log("There are no wheels for these libraries; looking for their sources")
            places = self.source_builds.make(base, job.contract.libraries, tick, told.log)
            if not places:
                raise
            return self.resolutions.resolve(*question, places)

    def _here(self, base: BaseImage, lock: str, wanted: Accelerator, told: Told, made_as: str = "") -> Layer | None:
        """The layer of a lock if it is here; the lock's builds are looked at in any case."""
        try:
            for sentence in frameworks.check(lockfile.read(lock), wanted):
                told.warn(sentence)
        except ProvisionError as error:
            told.log(str(error))
            raise
        return self.layers.find(base, lock, made_as)
