"""The process that sends webhooks: a Celery worker with a queue of its own, and the dispatcher beside it."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import httpx
from celery import signals

from api.webhooks.addresses import Forbidden, networks
from api.webhooks.dispatcher import Dispatcher
from api.webhooks.sending import GONE, TIMEOUT_SECONDS, send
from common import logs
from common.celery_app import celery
from common.errors import DCloudError
from common.ledger import Ledger, client_of
from common.settings import settings
from common.webhooks import Webhooks

log = logging.getLogger(__name__)

QUEUE = "webhooks"
OPTIONS = ("--without-gossip", "--without-mingle", "--heartbeat-interval=60", "--loglevel=INFO", "--concurrency=8")


@celery.task(name="webhooks.deliver")
def deliver(delivery_id: str) -> None:
    """Try a delivery, unless it was delivered, or its time has not come."""
    taken = _webhooks().take(delivery_id, 4 * TIMEOUT_SECONDS)
    if taken is None:
        return
    delivery, hook = taken
    status: int | None = None
    try:
        status = send(delivery, hook, networks(settings().webhook_allow))
        error = "" if 200 <= status < 300 else f"It answered {status}."
    except (Forbidden, httpx.HTTPError, ValueError) as problem:
        error = str(problem) or type(problem).__name__
    if not error and status is not None:
        _webhooks().done(delivery, hook, status)
    elif status == GONE:
        log.warning("webhook %s of %s is gone, and with it what it was owed", hook.id, hook.owner)
        _webhooks().delete(hook)
    else:
        pause = _webhooks().failed(delivery, hook, status, error)
        log.warning(
            "webhook %s of %s: %s Next try: %s", hook.id, hook.owner, error, f"{pause:.0f} s" if pause else "none"
        )


def main() -> int:
    """Send until told to stop; the exit code."""
    logs.set_up()
    try:
        networks(settings().webhook_allow)
        ledger = Ledger.connect(settings())
    except DCloudError as error:
        log.critical("Webhooks are not sent: %s", error)
        return 1
    feed = client_of(settings().redis_url, timeout_seconds=10)
    dispatcher = Dispatcher(ledger, _webhooks(), feed, lambda one: deliver.apply_async((one,), queue=QUEUE))
    signals.worker_ready.connect(lambda **_: threading.Thread(target=dispatcher.run, daemon=True).start(), weak=False)
    signals.worker_shutting_down.connect(lambda **_: _end(dispatcher), weak=False)
    celery.worker_main(["worker", *OPTIONS, f"--hostname=webhooks@{settings().host}", f"--queues={QUEUE}"])
    return 0


def _end(dispatcher: Dispatcher) -> None:
    """The consumer waits for the reply of its blocking read before it closes: give it one, that means nothing."""
    dispatcher.stop()
    # a signal handler runs this: a lock of Redis' client may be held by the very thread that it interrupts
    threading.Thread(target=deliver.apply_async, args=(("",),), kwargs={"queue": QUEUE}, daemon=True).start()


_KEPT: dict[str, Any] = {}


def _webhooks() -> Webhooks:
    if not _KEPT:
        ledger = Ledger(client_of(settings().redis_url), settings().key_prefix)
        _KEPT["webhooks"] = Webhooks(ledger.redis, ledger.keys)
    found: Webhooks = _KEPT["webhooks"]
    return found


if __name__ == "__main__":
    sys.exit(main())
