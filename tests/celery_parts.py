"""Celery on the Redis of a test, as `common.celery_app` sets it up, without the settings of this process."""

from __future__ import annotations

from celery import Celery
from ledger_parts import PREFIX


def celery_on(url: str) -> Celery:
    """Its task `start_environment` can be sent, and does nothing."""
    app = Celery("dcloud", broker=url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        broker_transport_options={"global_keyprefix": f"{PREFIX}:celery:", "priority_steps": [0]},
    )

    @app.task(name="start_environment", shared=False)  # type: ignore[untyped-decorator]
    def start_environment(env_id: str, token: int) -> None: ...

    return app
