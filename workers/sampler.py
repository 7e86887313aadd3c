"""The sampler: one loop a host that looks at every environment, keeps what it uses and tells what is wrong.

A look reads files of the kernel and asks the engine once, for all of them. It comes every INTERVAL_SECONDS, and at once
when the watcher has heard of something; only the regular ones are kept as samples.
"""

from __future__ import annotations

import logging
import threading
import time

from common.errors import DCloudError, IllegalTransition, NotFound, StaleToken
from common.states import SENTENCES, Reason
from common.stats import INTERVAL_SECONDS, GpuUse, Stats, Use
from workers import gpus
from workers.containers import Found
from workers.endings import Endings
from workers.member import Member
from workers.usage import Counters, Kernel
from workers.volumes import Fill

log = logging.getLogger(__name__)

NEARLY_FULL = 0.90
ROOMY = 0.85  # told again only after it was below this
OOM_NOTICE_SECONDS = 60.0  # a program that is started and killed again and again does not fill the history
ORDER = (Reason.STORAGE_BROKEN, Reason.GPU_LOST, Reason.PAUSED, Reason.STORAGE_NEARLY_FULL)  # the worst is told


class Sampler:
    """One thread."""

    def __init__(self, member: Member, endings: Endings):
        self.member = member
        self.endings = endings
        self.sick_gpus: frozenset[str] = frozenset()  # UUIDs; set by who watches them
        self._stats = Stats(member.ledger.redis, member.ledger.keys)
        self._kernel = Kernel()
        self._last: dict[str, Counters] = {}  # by container, at the last sample
        self._told: dict[str, Reason | None] = {}  # by container
        self._oom_told: dict[str, float] = {}  # by container, monotonic seconds
        self._full: set[str] = set()  # containers whose storage was nearly full
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def look_soon(self) -> None:
        """Look now, not only at the next interval."""
        self._wake.set()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            self._wake.wait(max(due - time.monotonic(), 0))
            self._wake.clear()
            regular = time.monotonic() >= due
            if regular:
                due = time.monotonic() + INTERVAL_SECONDS
            try:
                self.look(keep=regular)
            except DCloudError as error:
                log.warning("nothing is sampled now: %s", error)
            except Exception:
                log.exception("the sampler goes on")

    def look(self, keep: bool) -> None:
        """Look at all once; `keep` makes a sample of it. Raises RedisUnavailable, EngineError."""
        living = self.member.host.living()
        busy = gpus.uses({uuid for found in living for uuid in found.gpus}) if keep else {}
        samples, last = {}, {}
        for found in living:
            try:
                counters = self._kernel.counters(found.pid)
            except (OSError, KeyError):
                continue  # it ends this moment; the watcher hears of that
            fill = self.member.host.fill(found.env_id)
            if keep:
                last[found.container_id] = counters
                before = self._last.get(found.container_id)
                if before:  # the first look at a container gives no rates, so it is no sample
                    samples[found.env_id] = _use(before, counters, fill, [busy[u] for u in found.gpus if u in busy])
            self._tell(found, counters, fill)
        if keep:
            self._last = last
            self._forget({found.container_id for found in living})
            self._stats.write(samples)

    def _tell(self, found: Found, counters: Counters, fill: Fill | None) -> None:
        if self.endings.counted(found.container_id, counters.oom_kills):
            self._tell_of_kill(found, counters.oom_kills)
        wrong = self._wrong(found, fill)
        if found.container_id not in self._told or self._told[found.container_id] is not wrong:
            # the first time whatever an earlier process of this worker said is put right
            self._notice(found, wrong or "", SENTENCES[wrong] if wrong else "Running")
            self._told[found.container_id] = wrong

    def _wrong(self, found: Found, fill: Fill | None) -> Reason | None:
        """The worst of what is wrong with an environment now."""
        wrong = set()
        if found.paused:
            wrong.add(Reason.PAUSED)
        if self.sick_gpus & set(found.gpus):
            wrong.add(Reason.GPU_LOST)
        if fill and not fill.writable:
            wrong.add(Reason.STORAGE_BROKEN)
        if fill and fill.share >= (ROOMY if found.container_id in self._full else NEARLY_FULL):
            self._full.add(found.container_id)
            wrong.add(Reason.STORAGE_NEARLY_FULL)
        else:
            self._full.discard(found.container_id)
        return next((reason for reason in ORDER if reason in wrong), None)

    def _tell_of_kill(self, found: Found, kills: int) -> None:
        now = time.monotonic()
        if now - self._oom_told.get(found.container_id, -OOM_NOTICE_SECONDS) >= OOM_NOTICE_SECONDS:
            self._oom_told[found.container_id] = now
            self._notice(
                found,
                Reason.OUT_OF_MEMORY,
                f"The kernel killed a program here that used more RAM than the contract allows ({kills} so far).",
            )

    def _notice(self, found: Found, reason: str, message: str) -> None:
        try:
            self.member.notice(found.env_id, found.token, reason, message)
        except (StaleToken, IllegalTransition, NotFound):
            return  # it runs no longer, or not yet by the ledger's word

    def _forget(self, living: set[str]) -> None:
        for known in (self._told, self._oom_told):
            for container_id in set(known) - living:
                del known[container_id]
        self._full &= living


def _use(before: Counters, now: Counters, fill: Fill | None, busy: list[GpuUse]) -> Use:
    seconds = max(now.at - before.at, 0.001)

    def rate(earlier: int, later: int) -> int:
        return max(round((later - earlier) / seconds), 0)

    return Use(
        cpu_milli=rate(before.cpu_nanoseconds, now.cpu_nanoseconds) // 1_000_000,
        ram_bytes=now.ram_bytes,
        storage_bytes=fill.used_bytes if fill else 0,
        received_bytes_per_second=rate(before.received_bytes, now.received_bytes),
        sent_bytes_per_second=rate(before.sent_bytes, now.sent_bytes),
        pids=now.pids,
        oom_kills=now.oom_kills,
        gpus=tuple(busy),
    )
