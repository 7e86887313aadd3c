"""The API as gunicorn serves it: bodies without end, many watchers, a Redis that comes and goes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from api_fixtures import serving
from redis import Redis

from api.client import Client, DidNotStart
from common.channel import MAX_WAITING, Input, WorkerEnd
from common.inventory import Inventory
from common.keys import Keys
from deploy.redis_server import free_port

ENVIRONMENTS = "/api/v1/environments"


@pytest.fixture
def http(server: Any, token_of: Callable[..., str]) -> Iterator[httpx.Client]:
    """A client of the served API with ada's token."""
    headers = {"Authorization": f"Bearer {token_of('ada')}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def client(server: Any, token_of: Callable[..., str]) -> Iterator[Client]:
    """Our own client with ada's token."""
    with Client(server.url, token_of("ada")) as found:
        yield found


def connected(http: httpx.Client) -> socket.socket:
    """A bare connection to the same server."""
    address = urlsplit(str(http.base_url))
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=20)


def heard(client: socket.socket) -> str:
    """What the server still has to say: its answer may come in pieces."""
    client.settimeout(1)
    said = b""
    with suppress(TimeoutError, ConnectionResetError):
        while piece := client.recv(65536):
            said += piece
    return said.decode()


def test_ten_megabytes_are_refused_before_they_are_sent(http: httpx.Client) -> None:
    http.get("/healthz")
    head = (
        f"POST {ENVIRONMENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: {http.headers['Authorization']}\r\n"
        "Content-Type: application/json\r\nContent-Length: 10000000\r\n\r\n"
    )
    took = []
    for _ in range(3):
        with connected(http) as client:
            began = time.monotonic()
            client.sendall(head.encode())
            answer = client.recv(65536).decode()
            took.append(time.monotonic() - began)
            answer += heard(client)
        assert answer.startswith("HTTP/1.1 413 ")
        assert "application/problem+json" in answer
    assert min(took) < 0.1


def test_a_body_without_end_is_refused_at_the_limit(http: httpx.Client) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        while sent < 50_000_000:
            sent += 8192
            yield b"x" * 8192

    try:
        answer = http.post(ENVIRONMENTS, content=chunks(), headers={"Content-Type": "application/json"})
    except httpx.TransportError:
        pass  # the server hung up: as good
    else:
        assert answer.status_code == 413
    assert http.get("/healthz").status_code == 200


def test_a_slow_client_holds_nobody_up(http: httpx.Client) -> None:
    with connected(http) as slow:
        slow.sendall(b"POST /api/v1/environments HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        began = time.monotonic()
        for _ in range(20):
            assert http.get("/healthz").status_code == 200
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("Transfer-Encoding: chunked", "zz\r\n{}\r\n"),
        ("Content-Length: 100\r\nContent-Type: application/yaml", "env-name: la"),
    ],
)
def test_a_body_that_is_not_as_announced_is_refused(http: httpx.Client, header: str, body: str) -> None:
    with connected(http) as client:
        client.sendall(
            f"POST {ENVIRONMENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: {http.headers['Authorization']}\r\n"
            f"{header}\r\n\r\n{body}".encode()
        )
        client.shutdown(socket.SHUT_WR)
        answer = heard(client)
    assert answer.startswith("HTTP/1.1 400 ")
    assert "is not in the form that its headers say" in answer


@pytest.mark.parametrize("header", ["X-Long", "Authorization"])
def test_a_header_too_long_is_refused(http: httpx.Client, header: str) -> None:
    assert http.get(ENVIRONMENTS, headers={header: "x" * 20_000}).status_code in (400, 401, 431)
    assert http.get("/healthz").status_code == 200


def test_a_watcher_sees_events_as_they_happen(client: Client, host: Any) -> None:
    found = client.submit(b'{"language": {"libraries": ["slow"]}}')
    seen: list[dict[str, Any]] = []
    for event in client.follow(found["id"]):
        seen.append(event)
        if event["progress"] == 60:
            began = time.monotonic()
            host.go_on.set()
        if event["state"] == "running":
            break
    assert time.monotonic() - began < 1
    assert [event["state"] for event in seen][-1] == "running"
    assert seen == client.history(found["id"])


def test_many_watchers_share_one_reader_and_miss_nothing_when_it_is_cut(
    server: Any, token_of: Callable[..., str], client: Client, host: Any, redis_url: str
) -> None:
    token = token_of("ada")
    made = [
        client.submit(b'{"language": {"libraries": ["slow"]}, "resources": {"storage": "100MB"}}') for _ in range(4)
    ]

    def watch(number: int) -> list[dict[str, Any]]:
        seen = []
        with Client(server.url, token) as watcher:
            for event in watcher.follow(made[number % 4]["id"]):
                seen.append(event)
                if event["state"] == "running":
                    break
        return seen

    with ThreadPoolExecutor(40) as pool, Redis.from_url(redis_url, decode_responses=True) as redis:
        feed = Keys("dcloud").feed()
        watching = [pool.submit(watch, n) for n in range(40)]
        deadline = time.monotonic() + 10
        while redis.pubsub_numsub(feed)[0][1] < 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        processes = 2 * (os.cpu_count() or 1)  # of this server, and of the one that other files share
        assert 1 <= redis.pubsub_numsub(feed)[0][1] <= processes
        redis.client_kill_filter(_type="pubsub")
        host.go_on.set()  # it all happens while nobody listens
        histories = [client.history(environment["id"]) for environment in made]
        results = [future.result(timeout=20) for future in watching]
    for number, seen in enumerate(results):
        assert seen == client.history(made[number % 4]["id"])[: len(seen)]
        assert seen[-1]["state"] == "running"
    assert all(histories)


def test_the_last_worker_is_seen_to_be_lost(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: Any
) -> None:
    monkeypatch.setenv("DCLOUD_SWEEP_SECONDS", "0.5")
    ledger = parts.ledger
    with serving(redis_url, free_port(), tmp_path / "api.log"):
        ledger.register("h", "one", 1.0, Inventory(1000, 1024, 1024))
        until = time.monotonic() + 20
        while ledger.hosts()[0].state != "lost":
            assert time.monotonic() < until
            time.sleep(0.1)


def test_a_submitted_environment_is_waited_for(client: Client, host: Any) -> None:
    seen: list[int] = []
    found = client.submit({"env-name": "lab"}).wait(on_progress=lambda event: seen.append(event["progress"]))
    assert (found.name, found.state, found.progress, found.host) == ("lab", "running", 100, "sim")
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert found.stop().state in ("stopping", "stopped")
    assert found.refreshed()["contract"] == found["contract"]


def test_waiting_for_what_cannot_be_made_ends_with_why(client: Client, host: Any) -> None:
    with pytest.raises(DidNotStart, match="nosuchlib was not found") as caught:
        client.submit({"language": {"libraries": ["nosuchlib"]}}).wait()
    assert caught.value.environment.reason == "libraries_unresolvable"


def test_an_answer_that_was_lost_makes_no_second_environment(client: Client) -> None:
    first = client.submit(b'{"env-name": "once"}', key="k")
    assert client.submit(b'{"env-name": "once"}', key="k")["id"] == first["id"]
    assert len(list(client.environments())) == 1


def test_all_pages_of_the_list(client: Client) -> None:
    made = [client.submit(b"{}")["id"] for _ in range(103)]
    assert [e["id"] for e in client.environments()] == sorted(made, reverse=True)


def test_input_waits_for_a_command_that_reads_late(client: Client, host: Any, redis_url: str) -> None:
    env_id = client.submit(b"{}")["id"]
    next(event for event in client.follow(env_id) if event["state"] == "running")
    host.become_deaf()  # this test is the worker
    keys = Keys("dcloud")
    with Redis.from_url(redis_url) as redis, ThreadPoolExecutor(2) as pool:
        asked = pool.submit(client.exec, env_id, ["cat"])
        reply = redis.blpop([keys.control("sim")], timeout=4)
        end = WorkerEnd.of(redis, keys, reply[1]) if reply else None  # type: ignore[arg-type]
        assert end is not None
        end.opened()
        channel = asked.result()
        for seq in range(1, MAX_WAITING):  # the greeting is the first
            client.write(channel, seq, b"x")
        late = pool.submit(client.write, channel, MAX_WAITING, b"late")
        with pytest.raises(TimeoutError):
            late.result(timeout=1)
        assert len(end.receive()) == MAX_WAITING - 1
        late.result(timeout=5)
        assert end.receive() == [Input("in", b"late")]
        client.hang_up(channel)
