"""How gunicorn serves the API. Every name here is a setting of gunicorn."""

import logging
import os
import shutil
from typing import Any

from common import logs
from common.settings import settings

bind = settings().api_bind
worker_class = "gevent"  # thousands of watchers wait on one process
workers = min(4, os.cpu_count() or 1)
worker_connections = 4000  # clients a process, of which 2,000 may be watching
timeout = 60  # seconds without a sign of life after which a process is replaced
graceful_timeout = 5  # watchers come back by themselves, so a stop need not wait for them
keepalive = 15
max_requests = 0
proc_name = "dcloud-api"
control_socket_disable = True  # it would lie outside var/, in the user's home
errorlog = "-"

# where the processes of one API keep what they counted, for the one that Prometheus happens to ask
_counts = settings().var_dir / "run" / f"metrics-{bind.rpartition(':')[2]}"
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_counts)


def on_starting(server: Any) -> None:
    """Begin to count anew, and let the log be lines of JSON."""
    shutil.rmtree(_counts, ignore_errors=True)
    _counts.mkdir(parents=True)
    logs.set_up()
    for name in ("gunicorn.error", "gunicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True


def post_worker_init(worker: Any) -> None:
    """Each process of the API sees to what time ends, and to its log."""
    from api import arrival, sweeper  # noqa: PLC0415  (none of it may be imported before gevent has patched this process)

    logging.getLogger("gunicorn.error").addFilter(arrival.one_line)
    sweeper.start(worker.wsgi.extensions["dcloud"])


def on_exit(server: Any) -> None:
    """Leave nothing."""
    shutil.rmtree(_counts, ignore_errors=True)


def child_exit(server: Any, worker: Any) -> None:
    """What a process that ended had open is open no more."""
    from prometheus_client import multiprocess  # noqa: PLC0415  (it reads the variable above when it is imported)

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
