"""The API and a crowd: many who ask at once are all answered, each in turn."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_fixtures import Server, serving
from bench.http_load import load, request
from bench.watchers import Watchers

from api import services
from api.client import Client
from deploy.redis_server import free_port

CLIENTS, STREAMS = 200, 2000


@pytest.fixture
def one_process(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The API in one process, and as many sockets as the machine allows."""
    monkeypatch.setenv("DCLOUD_STREAM_LIMIT", "0")
    had, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with serving(redis_url, free_port(), tmp_path / "api.log", "--workers", "1") as found:
        yield found
    resource.setrlimit(resource.RLIMIT_NOFILE, (had, most))


def test_a_connection_goes_to_who_has_waited_longest(parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "CONNECTIONS", 1)
    pool = services.make(parts.settings).ledger.redis.connection_pool
    held, order = pool.get_connection(), []

    def wait() -> None:
        connection = pool.get_connection()
        order.append("who waited")
        pool.release(connection)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not pool.waiting():
        time.sleep(0.01)
    pool.release(held)
    held = pool.get_connection()  # at once: whoever had it would have it again and again
    order.append("who came back")
    pool.release(held)
    waiting.join()
    pool.disconnect()
    assert order == ["who waited", "who came back"]


def test_a_crowd_that_asks_again_and_again_is_answered(one_process: Server, token_of: Callable[..., str]) -> None:
    token = token_of("ada")
    with Client(one_process.url, token) as client:
        found = client.submit(b"{}")["id"]
    asked = request(one_process.url, "GET", f"/api/v1/environments/{found}", token)
    answers = load(one_process.url, lambda: asked, CLIENTS, 5)
    assert len(answers.delays) >= CLIENTS
    assert answers.refused == 0, answers.refusal


def test_two_thousand_streams_opened_in_one_rush_all_begin(one_process: Server, token_of: Callable[..., str]) -> None:
    token = token_of("ada")
    with Client(one_process.url, token) as client:
        found = [client.submit(b"{}")["id"] for _ in range(20)]
    with Watchers(one_process.url, token, found, STREAMS, told=1) as watchers:
        assert watchers.refused == watchers.lost == 0
        assert len(watchers.delays) >= STREAMS
