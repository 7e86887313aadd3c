"""Webhooks from end to end: the API, the process that sends, a receiver, and what is owed when either is away."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient
from simulated_host import SimulatedHost

from api.services import Services
from api.webhooks import sending as outgoing
from api.webhooks.addresses import networks
from api.webhooks.sending import send, signature
from common import webhooks
from common.settings import Settings
from common.webhooks import Delivery

AT = "/api/v1/webhooks"
ROOT = Path(__file__).parents[2]
LOOPBACK = "127.0.0.0/8"


class Receiver:
    """An HTTP server on the loopback that notes what it is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.status)
                if receiver.status == 302:
                    self.send_header("Location", f"{receiver.url}/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, _, body in self.got]

    def until(self, count: int, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while len(self.got) < count and time.monotonic() < end:
            time.sleep(0.05)
        assert len(self.got) >= count, self.types()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings.from_env(
        {"DCLOUD_REDIS_URL": redis_url, "DCLOUD_WEBHOOK_ALLOW": LOOPBACK, "DCLOUD_VAR_DIR": str(tmp_path)}
    )


@contextmanager
def sending(redis_url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process that sends, until the end of the block."""
    env = {**os.environ, "DCLOUD_REDIS_URL": redis_url, "DCLOUD_WEBHOOK_ALLOW": LOOPBACK}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.webhooks"], cwd=ROOT, env=env, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=25)


def made(client: FlaskClient, receiver: Receiver, *states: str) -> dict[str, Any]:
    """A new webhook."""
    answer = client.post(AT, json={"url": f"{receiver.url}/hook", **({"states": list(states)} if states else {})})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def test_what_happens_is_told_signed_and_missed_by_nobody(
    ada: FlaskClient, client_of: Callable[..., FlaskClient], host: SimulatedHost, receiver: Receiver, redis_url: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    before = ada.post("/api/v1/environments", json={"env-name": "before"}).get_json()["id"]
    while ada.get(f"/api/v1/environments/{before}").get_json()["state"] != "running":
        time.sleep(0.02)
    hook = made(ada, receiver, "queued", "running", "deleted")
    first = ada.post("/api/v1/environments", json={"env-name": "lab"}).get_json()["id"]  # while nobody sends
    client_of("eve").post("/api/v1/environments", json={})
    log = tmp_path / "webhooks.log"
    with sending(redis_url, log):
        receiver.until(2)
        ada.delete(f"/api/v1/environments/{first}")
        receiver.until(3)
        time.sleep(0.5)
    told = sorted((json.loads(body)["data"] for _, _, body in receiver.got), key=lambda data: str(data["event"]))
    mine = [data for data in told if data["id"] == first]
    assert [data["state"] for data in mine] == ["queued", "running", "deleted"]
    assert {data["owner"] for data in mine} == {"ada"}
    for path, headers, body in receiver.got:
        assert path == "/hook"
        stamp = int(headers["webhook-timestamp"])
        assert abs(stamp - time.time()) < 60
        assert headers["webhook-signature"] == signature(hook["secret"], headers["webhook-id"], stamp, body)
    sent = [headers["webhook-id"] for _, headers, _ in receiver.got]
    assert len(set(sent)) == len(sent)
    found = ada.get(f"{AT}/{hook['id']}").get_json()
    assert (found["last"]["status"], found["failures"]) == (204, 0)
    with sending(redis_url, log):  # what was told is not told again
        ada.post("/api/v1/environments", json={"env-name": "last"})
        receiver.until(len(sent) + 2)
    assert "before" not in {json.loads(body)["data"]["name"] for _, _, body in receiver.got}


@pytest.fixture
def owed(parts: Services, receiver: Receiver) -> Delivery:
    """A delivery whose time has come."""
    parts.accounts.create_user("ada")
    hook = parts.webhooks.create("ada", f"{receiver.url}/hook", ["running"])
    delivery = Delivery("msg_1", hook.id, "{}")
    parts.webhooks.tell("ada", "e", ("1-0", "running"), [delivery])
    return delivery


def test_a_delivery_is_one_process_at_a_time_and_once(parts: Services, owed: Delivery) -> None:
    kept = parts.webhooks
    assert kept.due() == ["msg_1"]
    taken = kept.take("msg_1", 60)
    assert taken is not None
    assert kept.take("msg_1", 60) is None
    kept.done(*taken, 200)
    assert kept.due() == []
    assert kept.take("msg_1", 60) is None
    kept.tell("ada", "e", ("2-0", "running"), [])
    assert parts.ledger.redis.keys("*delivery*") == parts.ledger.redis.keys("*busy*") == []


def test_a_process_that_dies_while_sending_keeps_nobody_from_it(parts: Services, owed: Delivery) -> None:
    assert parts.webhooks.take("msg_1", 0.05) is not None
    time.sleep(0.1)
    assert parts.webhooks.take("msg_1", 60) is not None


def test_failures_are_tried_again_later_and_later_and_then_given_up(
    parts: Services, owed: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "BACKOFF_SECONDS", (60, 300))
    due, pauses = parts.keys.webhook_due(), []
    for attempt in (0, 1):
        taken = parts.webhooks.take("msg_1", 60)
        assert taken is not None
        assert taken[0].attempt == attempt
        pause = parts.webhooks.failed(*taken, 500, "It answered 500.")
        assert pause is not None
        pauses.append(pause)
        assert parts.webhooks.take("msg_1", 60) is None
        parts.ledger.redis.zadd(due, {"msg_1": 0})  # time passes
    assert 54 <= pauses[0] <= 66
    assert 270 <= pauses[1] <= 330
    taken = parts.webhooks.take("msg_1", 60)
    assert taken is not None
    assert parts.webhooks.failed(*taken, None, "No answer.") is None
    assert parts.webhooks.due() == []
    [hook] = parts.webhooks.of("ada")
    assert (hook.failures, hook.last_status, hook.last_error) == (3, None, "No answer.")


def test_what_a_deleted_webhook_was_owed_is_given_up(parts: Services, owed: Delivery) -> None:
    parts.webhooks.delete(parts.webhooks.get(owed.hook_id))
    assert parts.webhooks.take("msg_1", 60) is None
    assert parts.ledger.redis.keys("*webhook*") == []


def test_a_redirect_is_not_followed_and_an_address_that_is_not_allowed_gets_nothing(
    parts: Services, owed: Delivery, receiver: Receiver
) -> None:
    hook = parts.webhooks.get(owed.hook_id)
    receiver.status = 302
    assert send(owed, hook, networks(LOOPBACK)) == 302
    assert [path for path, _, _ in receiver.got] == ["/hook"]
    with pytest.raises(Exception, match="no public address"):
        send(owed, hook, ())
    assert len(receiver.got) == 1


def test_who_answers_a_byte_at_a_time_holds_nobody_up(
    parts: Services, owed: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "WHOLE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                for _ in range(100):
                    connection.sendall(b"x")
                    time.sleep(0.1)

        threading.Thread(target=drip, daemon=True).start()
        hook = replace(parts.webhooks.get(owed.hook_id), url=f"http://127.0.0.1:{port}/")
        began = time.monotonic()
        with pytest.raises(httpx.HTTPError):
            send(owed, hook, networks(LOOPBACK))
        assert time.monotonic() - began < 5


def test_ones_own(ada: FlaskClient, client_of: Callable[..., FlaskClient], receiver: Receiver) -> None:
    hook = made(ada, receiver)
    assert hook["secret"].startswith("whsec_")
    [listed] = ada.get(AT).get_json()["webhooks"]
    assert "secret" not in listed
    assert listed["states"] == ["running", "stopped", "failed", "deleted"]
    eve = client_of("eve")
    assert eve.get(AT).get_json()["webhooks"] == []
    assert eve.delete(f"{AT}/{hook['id']}").status_code == 404
    assert ada.delete(f"{AT}/{hook['id']}").status_code == 204
    assert ada.get(f"{AT}/{hook['id']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "http://[::1]/"}, "url"),
        ({"url": "ftp://example.org"}, "url"),
        ({"url": "https://example.org/", "states": ["x"]}, "states"),
        ({"url": "https://example.org/", "secret": "mine"}, "secret"),
    ],
)
def test_what_is_no_webhook_is_refused(ada: FlaskClient, body: dict[str, Any], path: str) -> None:
    answer = ada.post(AT, json=body)
    assert answer.status_code == 422
    assert [problem["path"] for problem in answer.get_json(force=True)["errors"]] == [path]


def test_not_too_many(ada: FlaskClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MAX_OF_ONE", 1)
    made(ada, receiver)
    assert ada.post(AT, json={"url": "https://example.org/"}).status_code == 409
