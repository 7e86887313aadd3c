"""GPUs by NVML: the one gateway to it. A machine without a driver has none, and that is fine."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pynvml

from common.inventory import Gpu
from common.stats import GpuUse

MIB = 1024 * 1024


@dataclass(frozen=True)
class Driver:
    """What NVML reports: the driver's version, the newest CUDA that it supports, and the GPUs."""

    version: str = ""
    cuda: str = ""
    gpus: tuple[Gpu, ...] = ()


def driver() -> Driver:
    """The driver and its GPUs now; empty where there is no driver."""
    try:
        with _nvml():
            cuda = pynvml.nvmlSystemGetCudaDriverVersion_v2()
            return Driver(
                version=_text(pynvml.nvmlSystemGetDriverVersion()),
                cuda=f"{cuda // 1000}.{cuda % 1000 // 10}",
                gpus=tuple(gpu for index in range(pynvml.nvmlDeviceGetCount()) for gpu in _card(index)),
            )
    except pynvml.NVMLError:
        return Driver()


def uses(uuids: Collection[str]) -> dict[str, GpuUse]:
    """What is used of these GPUs now, by UUID; those that do not answer are left out."""
    found: dict[str, GpuUse] = {}
    if not uuids:
        return found
    with suppress(pynvml.NVMLError), _nvml():
        for uuid in uuids:
            with suppress(pynvml.NVMLError):
                device = pynvml.nvmlDeviceGetHandleByUUID(uuid)
                found[uuid] = GpuUse(uuid, _busy(device), int(pynvml.nvmlDeviceGetMemoryInfo(device).used))
    return found


def _busy(device: Any) -> int | None:
    try:
        return int(pynvml.nvmlDeviceGetUtilizationRates(device).gpu)
    except pynvml.NVMLError:
        return None  # the driver does not say so of MIG devices


@contextmanager
def _nvml() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _card(index: int) -> list[Gpu]:
    """A card, or the MIG devices that it is cut into. One that no longer answers is left out."""
    try:
        card = pynvml.nvmlDeviceGetHandleByIndex(index)
        if _cut(card):
            return _slices(card)
        return [_gpu(card)]
    except pynvml.NVMLError:
        return []


def _cut(card: Any) -> bool:
    try:
        current, _pending = pynvml.nvmlDeviceGetMigMode(card)
    except pynvml.NVMLError_NotSupported:
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _slices(card: Any) -> list[Gpu]:
    parent = _text(pynvml.nvmlDeviceGetUUID(card))
    found = []
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        try:
            found.append(_gpu(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card, index), parent))
        except pynvml.NVMLError_NotFound:
            continue
    return found


def _gpu(device: Any, parent: str = "") -> Gpu:
    return Gpu(
        uuid=_text(pynvml.nvmlDeviceGetUUID(device)),
        model=re.sub(r"\s+", " ", _text(pynvml.nvmlDeviceGetName(device))).strip(),
        memory_mib=pynvml.nvmlDeviceGetMemoryInfo(device).total // MIB,
        parent=parent,
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
