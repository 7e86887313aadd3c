"""A Redis that hangs, neither dead nor alive: every call is told so, in a time that a setting says."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_fixtures import serving
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis, RedisError
from test_api import ENVIRONMENTS
from test_api_access import filled, routes

from api.auth import PUBLIC
from api.patience import Patience
from api.pool import OrderlyPool
from api.services import Services
from deploy.redis_server import free_port

SECONDS = 1.0
CROWD = 100
GENEROUS = 5  # times as long; before there was one time for all of a request's questions it was more, whatever was set


@pytest.fixture
def hanging(redis_server: Any) -> Callable[[], Any]:
    """`with hanging():` Redis takes what is sent to it and answers nothing."""

    @contextmanager
    def hang() -> Iterator[None]:
        os.kill(redis_server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(redis_server.pid, signal.SIGCONT)

    return hang


@pytest.fixture
def http(redis_url: str, tmp_path: Path, token_of: Callable[..., str]) -> Iterator[httpx.Client]:
    """An admin at an API that waits SECONDS for Redis."""
    headers = {"Authorization": f"Bearer {token_of('root', 'admin')}"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    with (
        serving(redis_url, free_port(), tmp_path / "api.log", DCLOUD_REDIS_SECONDS=str(SECONDS)) as server,
        httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=20, limits=limits) as client,
    ):
        yield client


def test_what_it_is_told_and_when(http: httpx.Client, hanging: Callable[[], Any]) -> None:
    """Calls that ask once and often, that were answered before, and that begin by writing."""
    at = http.post(ENVIRONMENTS, json={"env-name": "lab"}).headers["Location"]
    calls = [("GET", at), ("GET", f"{at}/events"), ("GET", f"{at}/explain"), ("POST", f"{at}/stop"), ("DELETE", at)]
    calls += [("GET", "/api/v1/catalog"), ("POST", ENVIRONMENTS), ("POST", "/api/v1/tokens"), ("GET", "/readyz")]
    for _ in range(3):
        assert http.get(at).status_code == 200
    with hanging():
        for method, path in calls:
            began = time.monotonic()
            answer = http.request(method, path, json={} if method == "POST" else None, headers={"Idempotency-Key": "k"})
            took = time.monotonic() - began
            assert answer.status_code == 503, path
            assert answer.json()["type"] == "urn:dcloud:problem:unavailable"
            assert int(answer.headers["Retry-After"]) > 0
            assert took < GENEROUS * SECONDS, path
    assert http.get(at).status_code == 200


def test_every_call(http: httpx.Client, app: Flask, hanging: Callable[[], Any]) -> None:
    asked = sorted({(method, filled(rule, "0" * 15)) for method, rule, _ in routes(app) if method != "HEAD"})
    public = {filled(rule, "0" * 15) for _, rule, endpoint in routes(app) if endpoint in PUBLIC}

    def ask(method: str, path: str) -> tuple[str, int]:
        return path, http.request(method, path, json={} if method not in ("GET", "DELETE") else None).status_code

    ask("GET", "/api/v1/users/me")
    with hanging(), ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda call: ask(*call), asked))
    assert {code for path, code in answers if path not in public} == {503}
    assert ask("GET", "/api/v1/users/me")[1] == 200


def test_a_request_that_waited_in_vain_is_no_other(
    ada: FlaskClient, parts: Services, hanging: Callable[[], Any]
) -> None:
    """Whatever its thread does next asks again."""
    assert ada.get(ENVIRONMENTS).status_code == 200
    with hanging():
        assert ada.get(ENVIRONMENTS).status_code == 503
    assert parts.ledger.redis.ping()
    assert ada.get(ENVIRONMENTS).status_code == 200


def test_who_waits_in_line_is_sent_away(redis_url: str, hanging: Callable[[], Any]) -> None:
    pool = OrderlyPool.from_url(
        redis_url, max_connections=1, turn_seconds=200, socket_timeout=SECONDS / 2, retry=Patience()
    )
    redis, told = Redis(connection_pool=pool), []

    def ask() -> None:
        try:
            told.append(redis.ping())
        except RedisError as error:
            told.append(error)

    redis.ping()
    threads = [threading.Thread(target=ask) for _ in range(CROWD)]
    with hanging():
        for thread in threads:
            thread.start()
        until = time.monotonic() + CROWD * SECONDS / 2
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        assert len(told) == CROWD  # in a time in which half of them could have found out by themselves, one by one
    assert all(isinstance(error, RedisError) for error in told)
    assert redis.ping()
    pool.disconnect()


def test_a_connection_that_is_dead_is_not_redis_that_hangs(redis_url: str) -> None:
    """What no proxy passes on any longer is asked again over a new connection."""
    pool = OrderlyPool.from_url(redis_url, max_connections=4, socket_timeout=SECONDS / 2, retry=Patience())
    redis = Redis(connection_pool=pool)
    connection = pool.get_connection()
    connection.send_command("CLIENT", "REPLY", "OFF")  # from now on its server takes commands and says nothing
    pool.release(connection)
    assert redis.ping()
    pool.disconnect()
