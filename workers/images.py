"""Base images: pulled where a registry answers, else made from the package mirror; one for each recipe.

All ways end the same: in a short-lived container what is missing is added (packages, a Python, the user)
and the interpreter looked at, and what it says is written into the labels of the image that is kept.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.contract import Contract
from common.errors import ProvisionError
from common.inventory import Offer
from common.settings import Settings
from common.states import Reason
from workers import mirror
from workers.catalogue import Catalogue
from workers.engine import Engine, EngineError
from workers.filelocks import held
from workers.preparation import BASE, INTERPRETER, VERSION, pieces, prepare
from workers.recipes import Recipe
from workers.registry import Registry
from workers.sources import Sources
from workers.standalone import Standalone

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class BaseImage:
    """A base image in the engine. `key` is the same wherever the recipe is."""

    tag: str
    key: str
    python: str  # full version, "3.11.2"
    interpreter: str  # path in the image

    @property
    def python_minor(self) -> str:
        """As in "3.11"."""
        return ".".join(self.python.split(".")[:2])


class Images:
    """The base images of this machine. Several processes may work on the same at once."""

    def __init__(self, settings: Settings, engine: Engine, sources: Sources, catalogue: Catalogue):
        self.settings = settings
        self.engine = engine
        self.sources = sources
        self.catalogue = catalogue
        self.registry = Registry(settings, engine)
        self.standalone = Standalone(settings)
        self.directory = settings.data_dir / "images"

    def offers(self) -> tuple[Offer, ...]:
        """What can be chosen on this machine now."""
        return self.catalogue.offers(self.registry.answers(), self.standalone.answers())

    def get(self, contract: Contract, progress: Progress, log: Callable[[str], None]) -> BaseImage:
        """The base image of `contract`, made if it is not there. Raises ProvisionError.

        `progress` takes a fraction and a sentence.
        """
        recipe = self.catalogue.recipe_for(contract)
        found = self._find(recipe)
        if found is None:
            waiting = f"Waiting for {recipe.title}, which is being made for another environment"
            with held(self.settings.data_dir / "locks" / f"image-{recipe.key}", lambda: progress(0, waiting)):
                found = self._find(recipe)
                if found is None:
                    self._make(recipe, progress, log)
                    found = self._find(recipe)
        if found is None:
            raise ProvisionError(Reason.IMAGE_UNAVAILABLE, f"{recipe.title} vanished from the engine. Try again.")
        if not found.python.startswith(contract.language.version):
            raise ProvisionError(
                Reason.IMAGE_UNAVAILABLE,
                f"{recipe.title} is not to be had: it comes with Python {found.python}. Ask for {found.python_minor}.",
            )
        progress(1, recipe.title)
        return found

    def _find(self, recipe: Recipe) -> BaseImage | None:
        image = self.engine.image(recipe.tag)
        labels = (image or {}).get("Config", {}).get("Labels") or {}
        if labels.get(BASE) != recipe.key:
            return None
        return BaseImage(recipe.tag, recipe.key, labels[VERSION], labels[INTERPRETER])

    def _make(self, recipe: Recipe, progress: Progress, log: Callable[[str], None]) -> None:
        scratch = self.directory / f"making-{recipe.key}"
        _clear(scratch)  # of a build that was killed; the lock is ours
        scratch.mkdir(parents=True)
        raw = f"dcloud-raw:{recipe.key}"
        try:
            source, wanted, has_python = self._source(recipe, raw, scratch, progress, log)
            python = None
            if not has_python:
                progress(0.9, f"Fetching Python {recipe.python}")
                python = self.standalone.fetch(recipe.python, scratch, log)
            progress(0.95, f"Preparing {recipe.title}")
            prepare(self.engine, self.sources, recipe, source, wanted, python, log)
        finally:
            self.engine.remove_image(raw)
            _clear(scratch)

    def _source(
        self, recipe: Recipe, raw: str, scratch: Path, progress: Progress, log: Callable[[str], None]
    ) -> tuple[str, tuple[str, ...], bool]:
        """The image to begin with, packages that it may lack, and whether it has the Python with those."""

        def part(fraction: float, said: str) -> None:
            progress(0.9 * fraction, said)

        if reference := self.registry.pull(recipe.runtime, part, log):
            return reference, recipe.packages, True
        if recipe.suite and recipe.own_python:  # as a registry has no Python of the distribution, the mirror is nearer
            log(f"No registry serves {recipe.runtime or recipe.image}; making {recipe.title} from the package mirror")
        elif reference := self.registry.pull(recipe.image, part, log):
            return reference, recipe.system_packages, recipe.own_python
        if not recipe.suite:
            raise ProvisionError(
                Reason.IMAGE_UNAVAILABLE,
                f"{recipe.title} comes from a registry alone, and none that serves {recipe.image} answers. "
                "Choose another system; its operator can set DCLOUD_REGISTRY.",
            )
        self._bootstrap(recipe, raw, scratch, part, log)
        return raw, (), recipe.own_python

    def _bootstrap(
        self, recipe: Recipe, raw: str, scratch: Path, progress: Progress, log: Callable[[str], None]
    ) -> None:
        archive = scratch / "root.tar"
        kin = self.catalogue.suites(recipe.os)
        mirror.build(recipe, kin, scratch, archive, self.settings, lambda f, said: progress(0.85 * f, said), log)
        try:
            parts = pieces(archive, lambda at: progress(0.85 + 0.15 * at, f"Importing {recipe.title}"))
            self.engine.load(parts, raw)
        except EngineError as error:
            raise ProvisionError(
                Reason.IMAGE_UNAVAILABLE, "The engine could not import the base image.", str(error)
            ) from error


def _clear(scratch: Path) -> None:
    """Delete what a maker left, and never follow a mount that it may have made there."""
    subprocess.run(["rm", "--recursive", "--force", "--one-file-system", str(scratch)], check=False, timeout=600)
