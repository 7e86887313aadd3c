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
            except NoDriver as error:
                log.warning("the driver of the GPUs does not answer: %s", error)
            except Exception:
                log.exception("the watcher of GPUs goes on")
            self.look()
            time.sleep(LOOK_SECONDS)

    def follow(self) -> None:
        """Hear of faults until the driver goes away. Raises NoDriver."""
        faults = Faults()
        try:
            while True:
                fault = faults.wait(LOOK_SECONDS)
                if fault:
                    log.error("GPU %s: %s", fault.uuid or "(unknown)", fault.why)
                    self.cards.fault(fault)
                self.look()
        finally:
            faults.close()

    def look(self) -> None:
        """Tell the ledger and the environments where anything has changed."""
        inventory = self.member.host.inventory()
        if inventory.gpus == self._registered:
            return
        try:
            self.member.refresh(inventory)
        except DCloudError as error:
            log.warning("the ledger does not know yet which GPUs are sick: %s", error)
            return
        self._registered = inventory.gpus
        self._show(inventory.gpus)

    def _show(self, listed: tuple[Gpu, ...]) -> None:
        self.sampler.sick_gpus = frozenset(gpu.uuid for gpu in listed if not gpu.healthy)
        self.sampler.look_soon()
