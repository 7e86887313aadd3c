"""What a worker counts for Prometheus, and where it answers."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import httpx
import pytest
from prometheus_client import REGISTRY

from common.errors import SettingsError
from common.settings import Settings
from common.states import Phase
from deploy.redis_server import free_port
from workers import metrics

SETTINGS = Settings(redis_url="redis://127.0.0.1:1/0")


def seconds(phase: Phase) -> tuple[float, float]:
    """How often a phase was timed, and for how long in all."""
    names = ("dcloud_phase_seconds_count", "dcloud_phase_seconds_sum")
    count, total = (REGISTRY.get_sample_value(name, {"phase": phase}) or 0.0 for name in names)
    return count, total


def test_each_phase_is_timed_once_from_its_beginning_to_the_next() -> None:
    before = {phase: seconds(phase) for phase in Phase}
    watch = metrics.Stopwatch()
    for phase in (Phase.IMAGE, Phase.LIBRARIES, Phase.LIBRARIES, Phase.LIBRARIES):
        watch.enter(phase)
        time.sleep(0.01)
    watch.enter(None)
    after = {phase: seconds(phase) for phase in Phase}
    assert {phase: after[phase][0] - before[phase][0] for phase in Phase} == {
        Phase.IMAGE: 1, Phase.LIBRARIES: 1, Phase.STORAGE: 0, Phase.START: 0
    }  # fmt: skip
    assert after[Phase.LIBRARIES][1] - before[Phase.LIBRARIES][1] >= 0.03


def test_prometheus_is_answered_at_the_address_that_is_set() -> None:
    port = free_port()
    running = metrics.serve(replace(SETTINGS, metrics_bind=f"127.0.0.1:{port}"))
    assert running is not None
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    finally:
        running()
    assert 'dcloud_phase_seconds_bucket{le="0.01",phase="image"}' in text
    assert 'dcloud_environment_failures_total{reason="libraries_unresolvable"}' in text
    assert "dcloud_claims_total" in text


def test_nothing_is_listened_on_where_no_address_is_set() -> None:
    assert metrics.serve(SETTINGS) is None


@pytest.mark.parametrize("bind", ["9100x", "127.0.0.1:99999999", "nowhere.invalid:0"])
def test_an_address_that_is_none_stops_the_worker_with_a_sentence(bind: str) -> None:
    with pytest.raises(SettingsError, match="DCLOUD_METRICS_BIND"):
        metrics.serve(replace(SETTINGS, metrics_bind=bind))


def test_an_address_that_is_taken_stops_the_worker_with_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingsError, match="port of its own"):
            metrics.serve(replace(SETTINGS, metrics_bind=f"127.0.0.1:{taken.getsockname()[1]}"))
