"""Where builds of torch are: wheels on this machine's disk, or an index for each build."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from common.lockfile import Pin
from common.settings import Settings
from workers import wheel_pages
from workers.frameworks import TORCH
from workers.sources import BUILD, Sources

_BUILD = re.compile(r"cpu|cu\d+")
PROBE_SECONDS = 3.0
KNOWN_SECONDS = 600.0  # whether the index answers is not asked more often


@dataclass(frozen=True)
class Supply:
    """Where libraries come from that have builds: by name an index, and versions that are other builds of them."""

    indexes: tuple[tuple[str, str], ...] = ()  # (library, address)
    excluded: tuple[str, ...] = ()  # as constraints


class TorchBuilds:
    """What this machine can get."""

    def __init__(self, settings: Settings, sources: Sources):
        self.address = settings.torch_index
        self.store = settings.data_dir / "store"
        links = sources.builder_env.get("UV_FIND_LINKS", "").split(",")
        self.directories = [path for link in links if link and (path := Path(link.removeprefix("file://"))).is_dir()]
        self._answered: tuple[float, bool] | None = None

    def supply(self, libraries: Iterable[str], build: str, python_minor: str) -> Supply:
        """Where to get a build ("cpu", "cu128") of those of `libraries` that have any."""
        wanted = [parsed for text in libraries if (parsed := Requirement(text)).name in TORCH]
        if not wanted:
            return Supply()
        for directory in self.directories:
            here = list(_wheels(directory, python_minor))
            fitting = [wheel for wheel in here if wheel.version.local == build]
            if all(_has(fitting, parsed) for parsed in wanted):
                names = {wheel.name for wheel in fitting}
                others = {
                    f"{w.name}!={w.version}" for w in here if w.name in names and w.version.local not in (None, build)
                }
                page = self._page(fitting)
                return Supply(tuple((parsed.name, page) for parsed in wanted), tuple(sorted(others)))
        if self.address and self._answers():
            address = self.address.replace(BUILD, build)
            return Supply(tuple((parsed.name, address) for parsed in wanted))
        return Supply()

    def has(self, build: str, python_minor: str) -> bool:
        """Whether there is any place for this build of torch."""
        return bool(self.supply(("torch",), build, python_minor).indexes)

    def indexes(self, pins: Iterable[Pin], python_minor: str) -> tuple[str, ...]:
        """The indexes of the builds that a lock names."""
        builds = sorted({pin.local for pin in pins if pin.name in TORCH and _BUILD.fullmatch(pin.local)})
        places = [
            self._page(fitting)
            for directory in (self.directories if builds else [])
            for build in builds
            if (fitting := [wheel for wheel in _wheels(directory, python_minor) if wheel.version.local == build])
        ]
        if builds and self.address and self._answers():
            places += [self.address.replace(BUILD, build) for build in builds]
        return tuple(places)

    def _page(self, wheels: list[Wheel]) -> str:
        return wheel_pages.index(self.store, [wheel.path for wheel in wheels])

    def _answers(self) -> bool:
        if self._answered is None or time.monotonic() - self._answered[0] > KNOWN_SECONDS:
            self._answered = (time.monotonic(), self._probe())
        return self._answered[1]

    def _probe(self) -> bool:
        root = self.address.partition(BUILD)[0]
        if root.startswith(("/", "file:")):
            return Path(root.removeprefix("file://")).is_dir()
        try:
            httpx.head(root, timeout=PROBE_SECONDS)
        except httpx.HTTPError:
            return False
        return True


@dataclass(frozen=True)
class Wheel:
    """A wheel of torch's family on disk."""

    path: Path
    name: str
    version: Version


def _has(wheels: list[Wheel], wanted: Requirement) -> bool:
    return any(w.name == wanted.name and wanted.specifier.contains(str(w.version), prereleases=True) for w in wheels)


def _wheels(directory: Path, python_minor: str) -> Iterator[Wheel]:
    """The wheels of torch's family in a directory that a Python of this version takes."""
    fits = {f"cp{python_minor.replace('.', '')}", "py3"}
    for path in directory.glob("*.whl"):
        try:
            name, version, _, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            continue
        if canonicalize_name(name) in TORCH and any(tag.interpreter in fits or tag.abi == "abi3" for tag in tags):
            yield Wheel(path, name, version)
