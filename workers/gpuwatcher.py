"""The watcher of GPUs: a sick one leaves what may be given out, and its environment is told.

It hears of faults by the driver's events, and looks now and then for cards that have fallen off the bus without a word.
"""

from __future__ import annotations

import logging
import threading
import time

from common.errors import DCloudError
from common.inventory import Gpu
from workers.gpus import Faults, NoDriver
from workers.member import Member
from workers.sampler import Sampler

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0


class GpuWatcher:
    """One thread, where there is a driver."""

    def __init__(self, member: Member, sampler: Sampler):
        self.member = member
        self.cards = member.host.cards
        self.sampler = sampler
        self._registered: tuple[Gpu, ...] = member.host.inventory().gpus
        self._thread = threading.Thread(target=self._run, name="gpu-watcher", daemon=True)

    def start(self) -> None:
        """Begin in a thread of its own; on a host without GPUs there is nothing to watch."""
        if self._registered:
            self._show(self._registered)
            self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self.follow()
                continue
            except NoDriver as error:
                log.warning("the driver of the GPUs does not answer: %s", error)
            except Exception:
                log.exception("the watcher of GPUs goes on")
            self.look()
            time.sleep(LOOK_SECONDS)

    def follow(self) -> None:
        """Hear of faults until a card comes back, of which the driver tells only who asks anew. Raises NoDriver."""
        faults = Faults()
        try:
            while True:
                fault = faults.wait(LOOK_SECONDS)
                if fault:
                    log.error("GPU %s: %s", fault.uuid or "(unknown)", fault.why)
                    self.cards.fault(fault)
                if self.look():
                    return
        finally:
            faults.close()

    def look(self) -> bool:
        """Tell the ledger and the environments where anything has changed. Whether a GPU is well that was not."""
        inventory = self.member.host.inventory()
        if inventory.gpus == self._registered:
            return False
        try:
            self.member.refresh(inventory)
        except DCloudError as error:
            log.warning("the ledger does not know yet which GPUs are sick: %s", error)
            return False
        came_back = _well(inventory.gpus) - _well(self._registered)
        self._registered = inventory.gpus
        self._show(inventory.gpus)
        return bool(came_back)

    def _show(self, listed: tuple[Gpu, ...]) -> None:
        self.sampler.sick_gpus = frozenset(gpu.uuid for gpu in listed) - _well(listed)
        self.sampler.look_soon()


def _well(listed: tuple[Gpu, ...]) -> frozenset[str]:
    return frozenset(gpu.uuid for gpu in listed if gpu.healthy)
