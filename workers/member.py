"""This worker process as a member of the cluster: its host name, its epoch, its heartbeat.

Two processes of one machine are kept apart by a file lock; two machines by the ledger. A process that
was fenced must not touch anything more, so it ends at once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import IO, TypeVar

from common.environment import Job
from common.errors import Fenced, HostTaken, NotFound, RedisUnavailable
from common.inventory import Inventory
from common.ledger import Difference, Ledger, new_request
from common.settings import Settings
from common.states import Phase, State
from workers.provision import Host

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_SECONDS = 600.0


class Member:
    """One host's worker process: the parts of the host and its place in the ledger."""

    def __init__(self, settings: Settings, ledger: Ledger, host: Host):
        self.settings = settings
        self.ledger = ledger
        self.host = host
        self.name = settings.host
        self.epoch = ""
        self._instance = secrets.token_hex(8)
        self._stop = threading.Event()
        self._beaten = time.monotonic()  # when the ledger last heard of this host
        self._lock_file: IO[str] | None = None

    def join(self) -> None:
        """Take the host name. Raises HostTaken with what to do."""
        self._lock_name()
        self.host.cards.remember(self.ledger.held_gpus(self.name))
        inventory = self.host.inventory()
        try:
            self.epoch = self.ledger.register(self.name, self._instance, self.settings.lease_seconds, inventory)
        except HostTaken:
            raise HostTaken(
                f"Another machine's worker is live under the host name {self.name!r}. "
                "Stop it, or set DCLOUD_HOST_NAME to another name here."
            ) from None
        log.info("host %s joined with epoch %s: %s", self.name, self.epoch, inventory)

    def refresh(self, inventory: Inventory) -> None:
        """Tell the ledger what this host has now. Raises Fenced, RedisUnavailable."""
        self.ledger.heartbeat(self.name, self.epoch)  # a process that was fenced does not take the name back
        self.ledger.register(self.name, self._instance, self.settings.lease_seconds, inventory)

    def start_heartbeat(self) -> None:
        """Beat until `leave`."""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def leave(self) -> None:
        """Stop beating; the lease ends by itself."""
        self._stop.set()

    def advance(self, job: Job, state: State, progress: int, message: str, reason: str = "") -> None:
        """`Ledger.advance` for this host, waiting while Redis is away."""
        request = new_request()
        self.patiently(
            lambda: self.ledger.advance(
                self.name, self.epoch, job, state, progress=progress, message=message, reason=reason, request=request
            )
        )

    def progress(self, job: Job, phase: Phase, progress: int, message: str) -> None:
        """`Ledger.progress` for this host, waiting while Redis is away."""
        self.patiently(lambda: self.ledger.progress(self.name, self.epoch, job, phase, progress, message))

    def notice(self, env_id: str, token: int, reason: str, message: str) -> None:
        """`Ledger.notice` for this host."""
        self.ledger.notice(self.name, self.epoch, env_id, token, reason, message)

    def release(self, env_id: str, token: int, state: State, reason: str, message: str) -> None:
        """`Ledger.release` for this host, waiting while Redis is away."""
        request = new_request()
        self.patiently(
            lambda: self.ledger.release(
                self.name, self.epoch, env_id, token, state, reason=reason, message=message, request=request
            )
        )

    def reconcile(self, found: dict[str, int]) -> Difference:
        """`Ledger.reconcile` for this host, which the ledger takes for a heartbeat."""
        difference = self.ledger.reconcile(self.name, self.epoch, found)
        self._beaten = time.monotonic()
        return difference

    def patiently(self, call: Callable[[], T]) -> T:
        """What `call` returns, waiting while Redis is away. Raises RedisUnavailable where that takes too long."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call()
            except RedisUnavailable as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("%s; trying again", error)
                time.sleep(1)

    def _beat(self) -> None:
        every = self.settings.heartbeat_seconds
        while not self._stop.wait(max(self._beaten + every - time.monotonic(), 0)):
            if time.monotonic() < self._beaten + every:
                continue  # a sweep came before
            self._beaten = time.monotonic()
            try:
                self.ledger.heartbeat(self.name, self.epoch)
            except RedisUnavailable as error:
                log.warning("no heartbeat: %s", error)
            except (Fenced, NotFound) as error:
                log.critical("%s. This process ends; its containers stay.", error)
                os._exit(70)

    def _lock_name(self) -> None:
        directory = self.settings.data_dir / "locks"
        directory.mkdir(parents=True, exist_ok=True)
        self._lock_file = (directory / f"host-{self.name}.lock").open("a")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostTaken(
                f"A worker of this machine already runs as host {self.name!r}. "
                "Stop it, or set DCLOUD_HOST_NAME to another name for this one."
            ) from None
