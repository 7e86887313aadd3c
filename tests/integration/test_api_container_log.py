"""The log of a container over HTTP: from where on, and what becomes of it when nobody reads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from api.client import Client
from common.states import State

FIRST, SECOND = "2026-01-01T00:00:01.000000000Z", "2026-01-01T00:00:02.000000000Z"


@pytest.fixture
def at(server: Any, host: Any, parts: Any, token_of: Callable[..., str]) -> Any:
    """A client at the log of an environment that runs."""
    token = token_of("ada")
    with Client(server.url, token) as client:
        env_id = client.submit(b'{"language": {"libraries": ["chatty"]}}').id
    while parts.ledger.get(env_id).state is not State.RUNNING:
        time.sleep(0.02)
    base = f"{server.url}/api/v1/environments/{env_id}/logs"
    with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {token}"}) as http:
        yield lambda method="GET", **asked: http.stream(method, base, params={"source": "container", **asked})


def text(answer: Any) -> str:
    with answer as response:
        assert response.status_code == 200
        return "".join(response.iter_text())


def test_of_a_head_nothing_stays_open(at: Any, parts: Any) -> None:
    assert text(at("HEAD", follow=1)) == ""
    until = time.monotonic() + 10  # left alone, the channel lives for a minute
    while parts.ledger.redis.keys(parts.keys.channel_in("*")):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_who_lost_the_connection_gets_what_came_since(at: Any, host: Any) -> None:
    host.go_on.set()
    assert text(at()).count("\n") == 2
    first, second = text(at(timestamps=1)).splitlines()
    assert (first, second[:30]) == (f"{FIRST} hello from the container", SECOND)
    assert text(at(timestamps=1, since=FIRST)) == f"{second}\n"
    assert text(at(since=SECOND)) == ""


@pytest.mark.parametrize("since", ["yesterday", "2026-02-30T00:00:00.000000000Z", "0001-01-01T00:00:00.000000000Z"])
def test_a_moment_is_one_that_the_log_gave(at: Any, since: str) -> None:
    with at(since=since) as answer:
        assert answer.status_code == 400
        assert "since" in answer.read().decode()


def test_a_silent_log_that_nobody_reads_any_more_is_not_held(at: Any, host: Any, parts: Any) -> None:
    def channels() -> list[str]:
        return list(parts.ledger.redis.scan_iter("dcloud:channel:*:in"))

    with at(follow=1) as answer:
        assert next(answer.iter_text()) == "hello from the container\n"
        assert len(channels()) == 1
    until = time.monotonic() + 20
    while channels():
        assert time.monotonic() < until
        time.sleep(0.1)
