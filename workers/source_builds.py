"""Libraries without wheels, built from source where an operator allows it.

Building runs somebody's code. So it happens in a builder that is thrown away: it has neither the store nor
any other directory of this host, works in memory that counts against its own limit, and its cache ends
with it. What comes out is a wheel, which is then installed as any other, by its hash.
"""

from __future__ import annotations

import hashlib
import secrets
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from common.errors import ProvisionError
from common.settings import Settings
from common.states import Reason
from workers.builders import BUILD, STORE, Builder, Builders
from workers.images import BaseImage
from workers.resolutions import project, unresolved
from workers.torch_builds import Supply

WHEEL_BYTES = 1 << 30
LOCK_BYTES = 8 << 20
BUILT = "built"  # in the store: a directory for each wheel, named by its hash

# Arguments: interpreter, project file's text.
RESOLVE = """
printf %s "$2" > pyproject.toml
set -- --python "$1" --output-file pylock.toml pyproject.toml
uv pip compile --quiet --format pylock.toml --generate-hashes --no-header "$@"
"""
# Arguments: interpreter, library, library==version.
MAKE = 'uv pip install --python "$1" --no-deps --no-binary "$2" --target made "$3"'
FIND = ("find", f"{BUILD}/cache", "-name", "*.whl", "-type", "f")

Log = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """A library that there is only the source of."""

    name: str
    version: str


class SourceBuilds:
    """Builds on this host."""

    def __init__(self, settings: Settings, builders: Builders):
        self.allowed = settings.source_builds == "yes"
        self.builders = builders
        self.directory = builders.store / BUILT

    def make(self, base: BaseImage, libraries: tuple[str, ...], tick: Callable[[], None], log: Log) -> list[str]:
        """Build what of `libraries` has no wheel; where containers see the directories of the new ones.

        Raises ProvisionError.
        """
        with self.builders.thrown_away(base) as builder:
            made = [
                self._one(builder, base, source, tick, log) for source in _sources(builder, base, libraries, tick, log)
            ]
        return [f"{STORE}/{BUILT}/{name}" for name in made]

    def places(self, hashes: set[str]) -> list[str]:
        """Where containers see the wheels of these hashes that were built here."""
        return [f"{STORE}/{BUILT}/{value}" for value in sorted(hashes) if (self.directory / value).is_dir()]

    def _one(self, builder: Builder, base: BaseImage, source: Source, tick: Callable[[], None], log: Log) -> str:
        wanted = f"{source.name}=={source.version}"
        log(f"{wanted} has no wheel; building it from source")
        said: list[str] = []

        def line(text: str) -> None:
            said.append(text)
            log(text)

        command = ["sh", "-euc", MAKE, "make", base.interpreter, source.name, wanted]
        found: list[str] = []
        if builder.run(command, line, tick) == 0 and builder.run(FIND, found.append, tick) == 0:
            for path in found:
                if _is_wheel_of(path, source):
                    return self._keep(builder.read(path, WHEEL_BYTES), PurePosixPath(path).name)
        raise ProvisionError(
            Reason.LIBRARIES_NOT_INSTALLED,
            f"{wanted} has no wheel and could not be built from source. The build log says why; "
            "where it needs a compiler, add gcc and python3-dev to os.packages.",
            "\n".join(said),
        )

    def _keep(self, content: bytes, name: str) -> str:
        """Keep a wheel under its hash, which is returned."""
        value = hashlib.sha256(content).hexdigest()
        if not (self.directory / value).is_dir():
            half = self.directory / secrets.token_hex(8)
            half.mkdir(parents=True)
            (half / name).write_bytes(content)
            half.rename(self.directory / value)
        return value


def _sources(
    builder: Builder, base: BaseImage, libraries: tuple[str, ...], tick: Callable[[], None], log: Log
) -> list[Source]:
    """What of `libraries`, and of what they need, has no wheel."""
    said: list[str] = []

    def line(text: str) -> None:
        said.append(text)
        log(text)

    command = ["sh", "-euc", RESOLVE, "resolve", base.interpreter, project(libraries, Supply())]
    if builder.run(command, line, tick) != 0:
        raise unresolved("\n".join(said))
    return sourced(tomllib.loads(builder.read(f"{BUILD}/pylock.toml", LOCK_BYTES).decode()))


def sourced(document: dict[str, Any]) -> list[Source]:
    """Of what uv resolved, a document as PEP 751 has it, that which has no wheel."""
    return [Source(found["name"], found["version"]) for found in document["packages"] if not found.get("wheels")]


def _is_wheel_of(path: str, source: Source) -> bool:
    """The code that was built says what it is called; it is taken for nothing else than what was asked for."""
    try:
        name, version, _, _ = parse_wheel_filename(PurePosixPath(path).name)
    except InvalidWheelFilename:
        return False
    return name == canonicalize_name(source.name) and str(version) == source.version
