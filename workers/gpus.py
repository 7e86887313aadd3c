"""GPUs by NVML: the one gateway to it. A machine without a driver has none, and that is fine."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pynvml

from common.inventory import Gpu
from common.stats import GpuUse

MIB = 1024 * 1024

# Xids that tell of a fault of a program and not of the card, which goes on working: 13 graphics engine exception,
# 31 page fault, 43 stopped processing, 45 preemptive cleanup, 68 video processor exception, 109 context switch timeout.
# Sources: NVIDIA's "XID Errors" (https://docs.nvidia.com/deploy/xid-errors/), where these are "user application"; the
# same list is what NVIDIA's device plugin for Kubernetes ignores (internal/rm/health.go).
HARMLESS_XIDS = frozenset({13, 31, 43, 45, 68, 109})

_SERIOUS = pynvml.nvmlEventTypeXidCriticalError | pynvml.nvmlEventTypeDoubleBitEccError


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
                gpus=tuple(_all()),
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


@dataclass(frozen=True)
class Fault:
    """What the driver said of a card: the UUID of the whole card, "" where that is not known any more."""

    uuid: str
    why: str


class Faults:
    """The driver's word about cards that went wrong, from when this is made until it is closed."""

    def __init__(self) -> None:
        """Raises NoDriver."""
        try:
            pynvml.nvmlInit()
            self._set = pynvml.nvmlEventSetCreate()
        except pynvml.NVMLError as error:
            raise NoDriver(str(error)) from None
        self._uuids: dict[int, str] = {}
        for card in _cards():
            with suppress(pynvml.NVMLError):  # some cards tell of nothing
                self._uuids[_address(card)] = _text(pynvml.nvmlDeviceGetUUID(card))
                types = _SERIOUS & pynvml.nvmlDeviceGetSupportedEventTypes(card)
                pynvml.nvmlDeviceRegisterEvents(card, types, self._set)

    def wait(self, seconds: float) -> Fault | None:
        """The next one, None where there was none in that time. Raises NoDriver where the driver has gone."""
        try:
            data = pynvml.nvmlEventSetWait_v2(self._set, round(seconds * 1000))
        except pynvml.NVMLError_Timeout:
            return None
        except pynvml.NVMLError as error:
            raise NoDriver(str(error)) from None
        uuid = self._uuids.get(_address(data.device), "")
        if data.eventType == pynvml.nvmlEventTypeXidCriticalError:
            return None if data.eventData in HARMLESS_XIDS else Fault(uuid, f"Xid {data.eventData}")
        return Fault(uuid, "a memory error that could not be corrected")

    def close(self) -> None:
        """Hear of nothing more."""
        with suppress(pynvml.NVMLError):
            pynvml.nvmlEventSetFree(self._set)
            pynvml.nvmlShutdown()


class NoDriver(Exception):
    """There is no driver, or not any more."""


@contextmanager
def _nvml() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _cards() -> list[Any]:
    """Handles of the cards that answer."""
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        with suppress(pynvml.NVMLError):
            found.append(pynvml.nvmlDeviceGetHandleByIndex(index))
    return found


def _all() -> Iterator[Gpu]:
    """Cards, or the MIG devices that they are cut into. A card that no longer answers is left out."""
    cards = _cards()
    islands = _islands(cards)
    for card, island in zip(cards, islands, strict=True):
        with suppress(pynvml.NVMLError):
            if _cut(card):
                yield from _slices(card)
            else:
                yield replace(_gpu(card), island=island)


def _islands(cards: list[Any]) -> list[int]:
    """For each card the number of the group in which every two are linked by NVLink, 0 where none are linked at all."""
    groups: list[list[int]] = []
    for i, card in enumerate(cards):
        for group in groups:
            if all(_linked(card, cards[j]) for j in group):
                group.append(i)
                break
        else:
            groups.append([i])
    if all(len(group) == 1 for group in groups):
        return [0] * len(cards)
    return [next(n for n, group in enumerate(groups, 1) if i in group) for i in range(len(cards))]


def _linked(one: Any, other: Any) -> bool:
    try:
        status = pynvml.nvmlDeviceGetP2PStatus(one, other, pynvml.NVML_P2P_CAPS_INDEX_NVLINK)
    except pynvml.NVMLError:
        return False
    return bool(status == pynvml.NVML_P2P_STATUS_OK)


def _cut(card: Any) -> bool:
    try:
        current, _pending = pynvml.nvmlDeviceGetMigMode(card)
    except pynvml.NVMLError_NotSupported:
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _slices(card: Any) -> Iterator[Gpu]:
    parent = _text(pynvml.nvmlDeviceGetUUID(card))
    healthy = _healthy(card)
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        with suppress(pynvml.NVMLError_NotFound):
            device = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card, index)
            yield replace(_gpu(device), parent=parent, healthy=healthy)


def _gpu(device: Any) -> Gpu:
    return Gpu(
        uuid=_text(pynvml.nvmlDeviceGetUUID(device)),
        model=re.sub(r"\s+", " ", _text(pynvml.nvmlDeviceGetName(device))).strip(),
        memory_mib=pynvml.nvmlDeviceGetMemoryInfo(device).total // MIB,
        healthy=_healthy(device),
    )


def _healthy(device: Any) -> bool:
    """Whether no row of memory went bad for good and no reset is awaited; those that cannot say so are healthy."""
    with suppress(pynvml.NVMLError):
        *_, failed = pynvml.nvmlDeviceGetRemappedRows(device)
        if failed:
            return False
    with suppress(pynvml.NVMLError):
        (asked,) = pynvml.nvmlDeviceGetFieldValues(device, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
        known = asked.nvmlReturn == pynvml.NVML_SUCCESS  # drivers before 560 do not know
        return not known or asked.value.uiVal == pynvml.NVML_GPU_RECOVERY_ACTION_NONE
    return True


def _busy(device: Any) -> int | None:
    try:
        return int(pynvml.nvmlDeviceGetUtilizationRates(device).gpu)
    except pynvml.NVMLError:
        return None  # the driver does not say so of MIG devices


def _address(handle: Any) -> int:
    """What makes one handle of the driver the same as another."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
