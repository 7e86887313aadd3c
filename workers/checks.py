"""Checks: whether libraries can be had here together, before anyone submits them. Nothing is installed."""

from __future__ import annotations

import os
import secrets
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common import lockfile
from common.contract import Contract
from common.errors import DCloudError, ProvisionError
from common.states import Reason
from workers import frameworks
from workers.builders import STORE, Builder
from workers.engine import EngineError
from workers.images import BaseImage
from workers.layers import Layer
from workers.provision import Host
from workers.resolutions import FLAGS

MAX_SIZES_BYTES = 8 << 20


@dataclass(frozen=True)
class Checked:
    """What a host says of a contract's libraries. Bytes are None where the index does not tell them."""

    verdict: str  # ok; conflict: they cannot be installed together; unknown: it could not be found out
    message: str
    packages: tuple[str, ...] = ()  # name==version of everything that would be installed
    present: bool = False  # a layer of just these is here
    installed_bytes: int | None = None  # of a layer that is here
    download_bytes: int | None = None  # of the wheels of one that is not

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def check(host: Host, contract: Contract, tick: Callable[[], None]) -> Checked:
    """Resolve the libraries of `contract` on `host`. What `tick`, called now and then, raises ends it.

    A base image that is missing is made, as the environment needs it anyway; but not one with packages of the
    distribution, which do not change what libraries there are.
    """
    plain = replace(contract, packages=())
    try:
        with host.store.used():
            return _checked(host, contract, plain, tick)
    except ProvisionError as error:
        refused = error.reason in (Reason.LIBRARIES_UNRESOLVABLE, Reason.IMAGE_UNAVAILABLE)
        return Checked("conflict" if refused else "unknown", str(error))
    except EngineError as error:
        return Checked("unknown", f"The engine of the host refused a step: {error}")


def _checked(host: Host, contract: Contract, plain: Contract, tick: Callable[[], None]) -> Checked:
    base = host.images.get(plain, lambda _fraction, _said: None, lambda _line: None)
    tick()
    wanted = host.accelerator(contract.resources.gpus.count)
    lock = contract.lock or host.resolutions.known(base, contract.libraries, wanted)
    if not lock:
        with host.builders.builder(base) as builder:
            lock = host.resolutions.resolve(builder, base, contract.libraries, wanted, tick, lambda _line: None)
    warnings = "".join(f" {sentence}" for sentence in frameworks.check(lockfile.read(lock), wanted))
    names = tuple(f"{pin.name}=={pin.version}" for pin in lockfile.read(lock))
    layer = host.layers.find(base, lock) if not contract.packages else None
    if layer is not None:
        return Checked("ok", f"{_count(names)}, here already.{warnings}", names, True, installed_bytes=_size(layer))
    download = _download_bytes(host, base, lock)
    return Checked("ok", f"{_count(names)} would be installed.{warnings}", names, download_bytes=download)


def _count(names: tuple[str, ...]) -> str:
    return "1 library" if len(names) == 1 else f"{len(names)} libraries"


def _size(layer: Layer) -> int:
    return sum(
        entry.stat(follow_symlinks=False).st_size
        for directory, _, files in os.walk(layer.tree)
        for entry in (Path(directory) / name for name in files)
    )


def _download_bytes(host: Host, base: BaseImage, lock: str) -> int | None:
    """The size of all wheels of a lock, as the index tells it."""
    work, name = host.builders.store / "work", secrets.token_hex(8)
    source, target = work / f"{name}.in", work / f"pylock.{name}.toml"
    source.write_text(lock)
    try:
        with host.builders.builder(base) as builder:
            return _sum(target) if _pinned(builder, base, source, target) else None
    except DCloudError:
        return None  # a size is worth no failure
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)


def _pinned(builder: Builder, base: BaseImage, source: Path, target: Path) -> bool:
    inside = f"{STORE}/work"
    flags = [flag for flag in FLAGS if flag != "--generate-hashes"]
    command = ["uv", "pip", "compile", *flags, "--no-deps", "--quiet"]
    files = ["--python", base.interpreter, "--output-file", f"{inside}/{target.name}", f"{inside}/{source.name}"]
    return builder.run([*command, *files], lambda _line: None, lambda: None) == 0


def _sum(target: Path) -> int | None:
    """The builder wrote it, and is not trusted with links or endless files."""
    descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(MAX_SIZES_BYTES + 1)
    if len(text) > MAX_SIZES_BYTES:
        return None
    wheels = [package.get("wheels", []) for package in tomllib.loads(text.decode()).get("packages", [])]
    sizes = [max((wheel.get("size", 0) for wheel in some), default=0) for some in wheels]
    return sum(sizes) if sizes and all(sizes) else None
