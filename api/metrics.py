"""`/metrics` for Prometheus: what the ledger has, and what the processes of this API did.

The numbers of all processes are added up where `PROMETHEUS_MULTIPROC_DIR` names their directory, as
gunicorn's configuration does. What workers did is at their own addresses (`DCLOUD_METRICS_BIND`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import lru_cache

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as text_of
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api import auth
from api.openapi.described import described
from api.services import services
from common.inventory import Host
from common.ledger import Ledger
from common.waiting import waiting

blueprint = Blueprint("metrics", __name__)

REQUESTS = Counter("dcloud_http_requests", "Requests by route and status.", ["method", "route", "status"])
SECONDS = Histogram("dcloud_http_request_seconds", "Time until the answer began, by route.", ["method", "route"])
WATCHERS = Gauge("dcloud_watchers", "Open streams of events.", multiprocess_mode="livesum")


def register(app: Flask) -> None:
    """Count every request of `app`."""
    app.after_request(_count)


@blueprint.get("/metrics")
@auth.admin
@described("Metrics", answer_types=("text/plain",))
def metrics() -> Response:
    """Queue, capacity and requests as Prometheus reads them; for an admin's token."""
    of_ledger = CollectorRegistry()
    of_ledger.register(_LedgerCollector(services().ledger))
    return Response(text_of(of_ledger) + text_of(_of_processes()), content_type=CONTENT_TYPE_LATEST)


def _of_processes() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def count(method: str, route: str, status: int, began: float) -> None:
    """One request more; `began` by the monotonic clock."""
    number, seconds = _of(method, route, status)
    number.inc()
    seconds.observe(time.monotonic() - began)


@lru_cache(maxsize=1000)
def _of(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), SECONDS.labels(method, route)


def _count(response: Response) -> Response:
    count(request.method, request.url_rule.rule if request.url_rule else "none", response.status_code, g.began)
    return response


class _LedgerCollector(Collector):
    """Asks the ledger when Prometheus asks."""

    def __init__(self, ledger: Ledger):
        self._ledger = ledger

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from _queue(self._ledger)
        yield from _capacity(self._ledger.hosts())


def _queue(ledger: Ledger) -> Iterator[GaugeMetricFamily]:
    depth = GaugeMetricFamily("dcloud_queue_depth", "Environments that wait, by shape.", labels=["shape"])
    age = GaugeMetricFamily("dcloud_queue_head_age_seconds", "How long the first of a shape waits.", labels=["shape"])
    for queue in waiting(ledger):
        depth.add_metric([queue.shape], queue.count)
        age.add_metric([queue.shape], queue.head_age_seconds)
    yield depth
    yield age


def _capacity(hosts: list[Host]) -> Iterator[GaugeMetricFamily]:
    up = GaugeMetricFamily("dcloud_host_up", "1 where the host beats.", labels=["host", "state"])
    held = GaugeMetricFamily("dcloud_host_environments", "Environments that hold something there.", labels=["host"])
    capacity = GaugeMetricFamily("dcloud_host_capacity", "What may be given out.", labels=["host", "resource"])
    free = GaugeMetricFamily("dcloud_host_free", "What of it is free.", labels=["host", "resource"])
    for host in hosts:
        had = host.inventory
        up.add_metric([host.name, host.state], float(host.state != "lost"))
        held.add_metric([host.name], len(host.environments))
        amounts = {
            "cpu_cores": (had.cpu_milli / 1000, host.free_cpu_milli / 1000),
            "ram_bytes": (had.ram_mib * 2**20, host.free_ram_mib * 2**20),
            "storage_bytes": (had.storage_mib * 2**20, host.free_storage_mib * 2**20),
            "gpus": (len(had.gpus), len(host.free_gpus)),
        }
        for resource, (total, left) in amounts.items():
            capacity.add_metric([host.name, resource], total)
            free.add_metric([host.name, resource], left)
    yield from (up, held, capacity, free)
