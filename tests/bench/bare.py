"""A Celery application with one task that does nothing: what our path is compared with."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("bare", broker=os.environ["DCLOUD_REDIS_URL"], backend=os.environ["DCLOUD_REDIS_URL"])
app.conf.update(
    broker_transport_options={"global_keyprefix": "bare:"},
    result_backend_transport_options={"global_keyprefix": "bare:"},
    task_create_missing_queues=True,
)


@app.task(name="noop")
def noop() -> None:
    """Does nothing."""
