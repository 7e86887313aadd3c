"""What this worker did, for Prometheus, at an address of its own where `DCLOUD_METRICS_BIND` names one."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import Counter, Histogram, start_http_server

from common.errors import SettingsError
from common.settings import Settings
from common.states import Phase, Reason

CLAIMS = Counter("dcloud_claims", "Environments that this host has claimed.")
RUNNING = Counter("dcloud_environments_running", "Environments that came to run here.")
FAILURES = Counter("dcloud_environment_failures", "Environments that could not be made here, by reason.", ["reason"])
PHASES = Histogram(
    "dcloud_phase_seconds",
    "How long each phase of the making took.",
    ["phase"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)


class Stopwatch:
    """Times the phases of one making."""

    def __init__(self) -> None:
        self._phase: Phase | None = None
        self._since = time.monotonic()

    def enter(self, phase: Phase | None) -> None:
        """The phase that begins now, None at the end."""
        if phase is self._phase:
            return
        now = time.monotonic()
        if self._phase is not None:
            PHASES.labels(self._phase).observe(now - self._since)
        self._phase, self._since = phase, now


def serve(settings: Settings) -> Callable[[], None] | None:
    """Answer `GET /metrics`, where an address is set; what ends it. Raises SettingsError."""
    if not settings.metrics_bind:
        return None
    for phase in Phase:
        PHASES.labels(phase)
    for reason in Reason:
        FAILURES.labels(reason)
    name, _, port = settings.metrics_bind.rpartition(":")
    try:
        server, thread = start_http_server(int(port), name or "127.0.0.1")
    except (OSError, ValueError, OverflowError) as error:
        raise SettingsError(
            f"DCLOUD_METRICS_BIND is {settings.metrics_bind!r} and cannot be listened on ({error}). "
            "Set it to address:port, each worker of a machine to a port of its own."
        ) from None

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
