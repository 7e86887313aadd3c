"""The Celery application: how hosts get their tasks, and what Flower shows.

A message is a nudge. What is to be done stands in the ledger; a lost message is sent again by the
sweep of its host, a second one finds its token spent. So: acknowledged early, results ignored.
"""

from __future__ import annotations

from celery import Celery

from common.settings import Settings, settings

# Redis is asked this often by an idle consumer; a message that arrives is served at once.
POLLING_SECONDS = 60


def make_celery(values: Settings) -> Celery:
    """A Celery application on the ledger's Redis, under the same prefix."""
    app = Celery("dcloud")
    app.conf.update(
        broker_url=values.redis_url,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "global_keyprefix": f"{values.key_prefix}:celery:",
            "polling_interval": POLLING_SECONDS,
            "priority_steps": [0],
            "queue_order_strategy": "round_robin",
            "socket_keepalive": True,
            "health_check_interval": 120,
        },
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=False,
        task_create_missing_queues=True,
        task_default_queue=queue_of(values.host),
        task_send_sent_event=False,  # sender and receiver are one process
        worker_send_task_events=True,
        worker_prefetch_multiplier=1,
        worker_pool="threads",
        worker_concurrency=values.worker_threads,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        event_queue_expires=60,
    )
    return app


def queue_of(host: str) -> str:
    """The queue that the worker of a host consumes, and nobody else."""
    return f"host.{host}"


celery = make_celery(settings())
