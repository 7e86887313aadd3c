"""The sweeper: leases, lifetimes and old records end even where no worker is left to end them."""

from __future__ import annotations

import logging
import random
import threading
import time

from api.services import Services
from common.errors import DCloudError

log = logging.getLogger(__name__)


def start(parts: Services) -> None:
    """Look now and then, in a thread of its own, for as long as this process lives."""
    threading.Thread(target=_run, args=(parts,), name="sweeper", daemon=True).start()


def _run(parts: Services) -> None:
    seconds = parts.settings.sweep_seconds
    while True:
        time.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311
        try:
            parts.ledger.expire(interval_seconds=seconds / 4)  # whoever comes first does it for all
        except DCloudError as error:
            log.warning("the sweep waits: %s", error)
