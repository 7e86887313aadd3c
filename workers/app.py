"""The worker's Celery application, with the claimer as a step of its start."""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery import signals

from common import logs
from common.celery_app import celery, queue_of
from common.errors import DCloudError
from common.ledger import Ledger
from common.settings import Settings
from workers import metrics, tasks
from workers.claimer import ClaimerStep
from workers.member import Member
from workers.provision import Host

log = logging.getLogger(__name__)

# Gossip and mingle tell workers of each other, which nobody here needs; Flower is content with a rare heartbeat.
OPTIONS = ("--without-gossip", "--without-mingle", "--heartbeat-interval=120", "--loglevel=INFO")


def run(settings: Settings) -> int:
    """Join the cluster and work until told to stop; the exit code."""
    logs.set_up()
    try:
        metrics.serve(settings)
        member = Member(settings, Ledger.connect(settings), Host(settings))
        member.join()
    except DCloudError as error:
        log.critical("The worker does not start: %s", error)
        return 1
    tasks.serve(member)
    ClaimerStep.member = member
    celery.steps["worker"].add(ClaimerStep)
    signals.worker_shutting_down.connect(_unblock, weak=False)
    celery.worker_main(["worker", *OPTIONS, f"--hostname={settings.host}@%h", f"--queues={queue_of(settings.host)}"])
    return 0


def _unblock(**_: Any) -> None:
    """Closing the consumer reads the reply of its blocking BRPOP first: give it one, or it takes POLLING_SECONDS."""
    send = tasks.nothing.apply_async
    # a signal handler runs this: a lock of Redis' client may be held by the very thread that it interrupts
    threading.Thread(target=send, kwargs={"queue": queue_of(tasks.host_name())}, daemon=True).start()
