"""A registry of container images, where one answers. One that is away is not asked again for a while."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from common import units
from common.settings import Settings
from workers.engine import Engine, EngineError

ABSENT_SECONDS = 600  # a registry that did not answer is not asked again for so long
KNOWN_IMAGE = "debian:stable-slim"  # asked for to see whether a registry answers at all

Progress = Callable[[float, str], None]


class Registry:
    """The registry of this machine's settings, or else the engine's default."""

    def __init__(self, settings: Settings, engine: Engine):
        self.engine = engine
        self.prefix = settings.registry.rstrip("/")
        name = hashlib.sha256(self.prefix.encode()).hexdigest()[:16]
        self._absent = settings.data_dir / "images" / f"absent-{name}"

    def answers(self) -> bool:
        """Whether it is there now, as far as was seen lately."""
        if self._is_absent():
            return False
        try:
            self.engine.offered(self._reference(KNOWN_IMAGE))
        except EngineError:
            self._is_away()
            return False
        return True

    def pull(self, image: str, progress: Progress, log: Callable[[str], None]) -> str:
        """Pull an image; its reference, or "" where no registry has it. `progress` takes a fraction and a sentence."""
        if not image or self._is_absent():
            return ""
        reference = self._reference(image)
        layers: dict[str, tuple[int, int]] = {}
        try:
            if not self.engine.offered(reference):
                return ""
            for said in self.engine.pull(reference):
                detail = said.get("progressDetail") or {}
                if detail.get("total") and said.get("status") == "Downloading":
                    layers[said["id"]] = (detail["current"], detail["total"])
                progress(*_far(image, layers))
        except EngineError as error:
            log(f"No registry answers for {reference}: {error}")
            self._is_away()
            return ""
        self._absent.unlink(missing_ok=True)
        return reference

    def _reference(self, image: str) -> str:
        return f"{self.prefix}/{image}".lstrip("/")

    def _is_absent(self) -> bool:
        try:
            return time.time() - self._absent.stat().st_mtime < ABSENT_SECONDS
        except FileNotFoundError:
            return False

    def _is_away(self) -> None:
        self._absent.parent.mkdir(parents=True, exist_ok=True)
        self._absent.touch()


def _far(image: str, layers: dict[str, tuple[int, int]]) -> tuple[float, str]:
    """Fraction and sentence for a pull of `layers`, (bytes here, bytes in all) by name."""
    if not layers:
        return 0.0, f"Pulling {image}"
    done, total = (sum(column) for column in zip(*layers.values(), strict=True))
    here, whole = (units.human_mib(amount // units.MIB) for amount in (done, total))
    return done / total, f"Pulling {image}: {here} of {whole}"
