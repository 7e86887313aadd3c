"""The audit log: who did what to what, and nothing that opens anything."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from simulated_host import SimulatedHost
from test_api import ENVIRONMENTS, problem, submitted
from test_api_access import filled, routes

import api
from api.auditing import QUIET
from api.auth import PUBLIC
from api.services import Services
from common.audit import AuditLog, Entry
from common.keys import Keys
from common.settings import Settings

Clients = Callable[..., FlaskClient]
PASSWORD = "correct horse battery"


@pytest.fixture
def root(client_of: Clients) -> FlaskClient:
    return client_of("root", "admin")


def entries(root: FlaskClient, query: str = "") -> list[dict[str, Any]]:
    """Oldest first, without the entries about the log itself."""
    found: list[dict[str, Any]] = root.get(f"/api/v1/audit?limit=100{query}").get_json()["entries"]
    return [entry for entry in reversed(found) if entry["action"] != "audit.audit"]


def lines(parts: Services) -> list[dict[str, Any]]:
    return [json.loads(line) for line in parts.audit.file.read_text().splitlines()]


def test_what_is_done_is_written_down_with_who_and_to_what(
    root: FlaskClient, ada: FlaskClient, parts: Services, host: SimulatedHost
) -> None:
    env_id = submitted(ada, **{"env-name": "lab"})["id"]
    root.post("/api/v1/users", json={"name": "eve", "password": PASSWORD})
    root.patch("/api/v1/users/eve", json={"role": "admin"})
    root.put("/api/v1/users/eve/quota", json={"gpus": 1})
    root.post("/api/v1/hosts/sim/drain")
    made = root.post("/api/v1/tokens", json={"user": "eve", "name": "ci"}).get_json()
    root.delete(f"/api/v1/tokens/{made['id']}")
    ada.delete("/api/v1/hosts/sim")
    root.delete(f"{ENVIRONMENTS}/{env_id}")
    found = entries(root)
    assert [(e["user"], e["action"], e["target"], e["status"]) for e in found] == [
        ("ada", "environments.submit", env_id, 202),
        ("root", "users.create", "eve", 201),
        ("root", "users.change", "eve", 200),
        ("root", "quotas.give", "eve", 200),
        ("root", "hosts.drain", "sim", 200),
        ("root", "tokens.create", "", 201),
        ("root", "tokens.revoke", made["id"], 204),
        ("ada", "hosts.forget", "sim", 403),
        ("root", "environments.delete", env_id, 202),
    ]
    assert found[0]["details"] == {"name": "lab"}
    assert found[1]["details"] == {"role": "user", "password": True}
    assert found[5]["details"]["owner"] == "eve"
    assert all(e["token"] and e["request"] and e["address"] == "127.0.0.1" and e["at"].endswith("Z") for e in found)
    assert [line for line in lines(parts) if line["action"] != "audit.audit"] == found
    assert parts.audit.file.stat().st_mode & 0o777 == 0o600


def test_a_submit_and_its_line_are_written_in_one_step(
    ada: FlaskClient, root: FlaskClient, parts: Services, redis_url: str
) -> None:
    submitted(ada)  # so that what is looked up once is known
    with Redis.from_url(redis_url, decode_responses=True) as redis, redis.monitor() as monitor:
        made = [ada.post(ENVIRONMENTS, json={}, headers={"Idempotency-Key": "once"}).get_json()["id"]]
        redis.ping()
        sent = []
        while (heard := monitor.next_command())["command"] != "PING":
            sent += [heard["command"].split()[0].lower()] if heard["client_type"] != "lua" else []
    assert "xadd" not in sent
    assert sent.count("fcall") == 1 + 1  # the submit, and the look at what it made
    made.append(ada.post(ENVIRONMENTS, json={}, headers={"Idempotency-Key": "once"}).get_json()["id"])
    assert made[0] == made[1]
    ada.post(ENVIRONMENTS, json={"os": 1})
    found = entries(root)[1:]
    assert [(entry["target"], entry["status"]) for entry in found] == [(made[0], 202), (made[0], 202), ("", 422)]
    assert lines(parts)[1:4] == found


def test_no_secret_is_in_it(app: Flask, root: FlaskClient, parts: Services, token_of: Callable[..., str]) -> None:
    root.post("/api/v1/users", json={"name": "eve", "password": PASSWORD})
    root.put("/api/v1/users/eve/password", json={"password": "staple correct horse"})
    token = root.post("/api/v1/tokens", json={"user": "eve"}).get_json()["token"]
    given = token_of("ada")
    app.test_client().post("/sign-in", data={"token": given})
    app.test_client().post("/sign-in", data={"name": "eve", "password": "staple correct horse"})
    app.test_client().post("/sign-in", data={"name": "hunter2 my password", "password": ""})
    app.test_client().post("/sign-in", data={"name": "eve", "password": "guessed wrong"})
    text = parts.audit.file.read_text() + json.dumps(entries(root))
    for secret in (PASSWORD, "staple", "hunter2", "guessed", token.split("_")[3], given.split("_")[3]):
        assert secret not in text
    signing = [(e["user"], e["target"], e["status"]) for e in entries(root, "&action=pages.sign_in")]
    assert signing == [("ada", "ada", 303), ("eve", "eve", 303), ("", "eve", 401)]


def test_a_line_break_forges_nothing(parts: Services) -> None:
    forged = '\n{"at": "2026-01-01", "action": "users.create", "user": "root"}\r\u2028\x00\x1b[2J'
    parts.audit.write(Entry("environments.submit", "ada", forged, details={"name": forged, forged: 1}))
    [line] = parts.audit.file.read_bytes().split(b"\n")[:-1]
    assert line.isascii()
    assert b"\x1b" not in line
    assert json.loads(line)["target"] == forged
    [entry], _ = parts.audit.page()
    assert entry.target == forged


def test_every_call_that_changes_something_has_its_line(app: Flask, root: FlaskClient, parts: Services) -> None:
    for method, rule, endpoint in routes(app):
        if method in ("GET", "HEAD") or endpoint in PUBLIC | QUIET:
            continue
        before = len(lines(parts)) if parts.audit.file.exists() else 0
        root.open(filled(rule, "0" * 15), method=method, json={})
        written = lines(parts)[before:]
        assert [line["action"] for line in written] == [endpoint], (method, rule)


def test_an_admin_who_looks_at_somebody_elses_is_seen(root: FlaskClient, ada: FlaskClient) -> None:
    env_id = submitted(ada)["id"]
    for _ in range(3):
        ada.get(f"{ENVIRONMENTS}/{env_id}")
        root.get(f"{ENVIRONMENTS}/{env_id}")
        root.get("/api/v1/users")
    looks = [(e["user"], e["action"], e["target"]) for e in entries(root)[1:]]
    assert looks == [("root", "environments.look", env_id), ("root", "users.users", "")]  # each once, for a while


def test_nobody_fills_it_from_outside(app: Flask, parts: Services) -> None:
    for path in ("/api/v1/users", ENVIRONMENTS, "/sign-out", "/nothing"):
        app.test_client().post(path, json={}, headers={"Authorization": "Bearer dc_u_x"})
    assert not parts.audit.file.exists()


def test_who_is_told_to_wait_is_written_down_once(settings: Settings, token_of: Callable[..., str]) -> None:
    app = api.create_app(replace(settings, rate_limit=6))
    headers = {"Authorization": f"Bearer {token_of('ada')}"}
    codes = [app.test_client().post(ENVIRONMENTS, data=b"{", headers=headers).status_code for _ in range(5)]
    parts: Services = app.extensions["dcloud"]
    assert codes.count(429) > 1
    assert [line["status"] for line in lines(parts)] == [422] * codes.count(422) + [429]


def test_who_guesses_passwords_is_written_down_though_told_to_wait(app: Flask, parts: Services) -> None:
    parts.accounts.create_user("ada")
    guess = {"name": "ada", "password": "x" * 12}
    codes = [app.test_client().post("/api/v1/login", json=guess).status_code for _ in range(13)]
    assert codes == [401] * 10 + [429] * 3
    assert [(line["target"], line["status"]) for line in lines(parts)] == [("ada", 401)] * 10 + [("ada", 429)]


def test_it_comes_in_pages_and_by_user(root: FlaskClient, ada: FlaskClient, parts: Services) -> None:
    for number in range(7):
        parts.audit.write(Entry("a", f"u{number % 2}", str(number)))
    targets, cursor = [], ""
    while cursor is not None:
        page = root.get(f"/api/v1/audit?limit=2&user=u0&cursor={cursor}").get_json()
        targets += [entry["target"] for entry in page["entries"]]
        cursor = page["next"]
    assert targets == ["6", "4", "2", "0"]
    problem(ada.get("/api/v1/audit"), 403)
    problem(root.get("/api/v1/audit?cursor=x"), 400)
    problem(root.get("/api/v1/audit?limit=101"), 400)


def test_without_redis_it_is_still_in_the_file(ada: FlaskClient, parts: Services, redis_server: Any) -> None:
    ada.get(ENVIRONMENTS)
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        parts.audit.write(Entry("hosts.drain", "root", "sim"))
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    assert lines(parts)[-1]["action"] == "hosts.drain"


def test_a_full_file_is_set_aside_and_a_place_that_is_none_stops_nothing(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("common.audit.FILE_BYTES", 500)
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        log = AuditLog(redis, Keys("t"), tmp_path / "log")
        for number in range(10):
            log.write(Entry("a", "ada", str(number)))
        kept = "".join(file.read_text() for file in sorted((tmp_path / "log").iterdir()))
        assert len(list((tmp_path / "log").iterdir())) > 2
        assert sorted(json.loads(line)["target"] for line in kept.splitlines()) == [str(n) for n in range(10)]
        nowhere = AuditLog(redis, Keys("t"), tmp_path / "log" / next((tmp_path / "log").iterdir()).name)
        nowhere.write(Entry("a", "ada", "last"))
        assert "cannot be written" in caplog.text
        assert log.page(limit=1)[0][0].target == "last"
