"""The GPUs of this host over time: those that answer, those that went wrong, and those that do not answer any more.

A GPU that was once seen stays in the inventory, as one that is not given out: the environment that has it must be told,
and its allocation must not look like one of something that never was. A card that went wrong comes back once the
driver, after it did not answer for it or called it sick itself, calls it well: it was reset or replaced. A new worker
process believes the driver from its start, but for GPUs that environments still have.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace

from common.inventory import Gpu
from workers import gpus
from workers.gpus import Driver, Fault


class Cards:
    """Thread safe."""

    def __init__(self) -> None:
        self._known: dict[str, Gpu] = {}
        self._faults: dict[str, str] = {}  # by UUID of the card
        self._down: set[str] = set()  # those of them that the driver has called sick or not at all since
        self._mutex = threading.Lock()

    def remember(self, known: Iterable[Gpu]) -> None:
        """Count these as seen: environments have them."""
        with self._mutex:
            self._known |= {gpu.uuid: gpu for gpu in known}

    def fault(self, fault: Fault) -> None:
        """A card went wrong."""
        with self._mutex:
            self._faults[fault.uuid] = fault.why
            self._down.discard(fault.uuid)

    def driver(self) -> Driver:
        """The driver now, with all GPUs that were seen; `healthy` says which of them may be given out."""
        now = gpus.driver()
        with self._mutex:
            self._forgive({gpu.parent or gpu.uuid for gpu in now.gpus if gpu.healthy})
            answering = [self._judged(gpu) for gpu in now.gpus]
            lost = [replace(gpu, healthy=False) for gpu in self._known.values() if not _replaced(gpu, answering)]
            self._known = {gpu.uuid: gpu for gpu in (*answering, *lost)}
            return replace(now, gpus=tuple(self._known.values()))

    def why(self, gpu: Gpu) -> str:
        """What is wrong with an unhealthy GPU, in a few words."""
        with self._mutex:
            return self._faults.get(
                gpu.parent or gpu.uuid, "it does not answer, cannot repair its memory, or awaits a reset"
            )

    def _forgive(self, well: set[str]) -> None:
        for card in self._down & well:
            del self._faults[card]
        self._down = self._faults.keys() - well

    def _judged(self, gpu: Gpu) -> Gpu:
        return replace(gpu, healthy=gpu.healthy and (gpu.parent or gpu.uuid) not in self._faults)


def _replaced(gpu: Gpu, answering: list[Gpu]) -> bool:
    """Whether a GPU is there, or its card is, cut in another way."""
    cards = {other.parent or other.uuid for other in answering}
    return gpu.uuid in {other.uuid for other in answering} or (gpu.parent or gpu.uuid) in cards
