"""The worker's Celery application, with the claimer as a step of its start."""

from __future__ import annotations

import logging
import sys

from common.celery_app import celery, queue_of
from common.errors import DCloudError
from common.ledger import Ledger
from common.settings import Settings
from workers import tasks
from workers.claimer import ClaimerStep
from workers.member import Member
from workers.provision import Host

log = logging.getLogger(__name__)

# Gossip and mingle tell workers of each other, which nobody here needs; Flower is content with a rare heartbeat.
OPTIONS = ("--without-gossip", "--without-mingle", "--heartbeat-interval=60", "--loglevel=INFO")


def run(settings: Settings) -> int:
    """Join the cluster and work until told to stop; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        member = Member(settings, Ledger.connect(settings), Host(settings))
        member.join()
    except DCloudError as error:
        log.critical("The worker does not start: %s", error)
        return 1
    tasks.serve(member)
    ClaimerStep.member = member
    celery.steps["worker"].add(ClaimerStep)
    celery.worker_main(["worker", *OPTIONS, f"--hostname={settings.host}@%h", f"--queues={queue_of(settings.host)}"])
    return 0
