"""The API on a real Redis: what it accepts, what it answers, what it refuses and how."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from simulated_host import SimulatedHost
from werkzeug.test import TestResponse

import api
from api.problem_types import type_of
from api.services import Services
from common import ids
from common.ledger import Ledger
from common.settings import Settings
from common.states import State

ENVIRONMENTS = "/api/v1/environments"
EXAMPLES = Path(__file__).parents[2] / "examples"
Clients = Callable[..., FlaskClient]


def submitted(client: FlaskClient, **contract: Any) -> dict[str, Any]:
    """A new environment."""
    answer = client.post(ENVIRONMENTS, json=contract)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def problem(answer: TestResponse, status: int) -> dict[str, Any]:
    """The problem that an answer is, of the one shape that all have."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    found: dict[str, Any] = json.loads(answer.text)
    assert found["type"] == type_of(status).urn
    assert answer.headers["Link"] == f'</docs/problems#{type_of(status).slug}>; rel="help"'
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    assert found["instance"] == f"urn:dcloud:request:{answer.headers['X-Request-Id']}"
    return found


def until(client: FlaskClient, env_id: str, state: str) -> dict[str, Any]:
    """The environment once it is in this state."""
    for _ in range(500):
        found: dict[str, Any] = client.get(f"{ENVIRONMENTS}/{env_id}").get_json()
        if found["state"] == state:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{found['state']} and not {state}")


def test_a_contract_is_accepted_and_comes_to_run(ada: FlaskClient, host: SimulatedHost) -> None:
    answer = ada.post(ENVIRONMENTS, data=(EXAMPLES / "data-science.json").read_bytes(), content_type="application/json")
    assert answer.status_code == 202
    found = answer.get_json()
    assert answer.headers["Location"] == f"{ENVIRONMENTS}/{found['id']}" == found["links"]["self"]
    assert ids.PATTERN.fullmatch(found["id"])
    assert (found["name"], found["owner"]) == ("data-science", "ada")
    assert found["created_at"].endswith("Z")

    running = until(ada, found["id"], "running")
    assert (running["progress"], running["host"], running["attempt"]) == (100, "sim", 1)
    assert running["started_at"].endswith("Z")
    assert submitted(ada, **running["contract"])["contract"] == running["contract"]


def test_a_look_takes_one_trip_to_redis_and_sees_what_is_so_now(
    ada: FlaskClient, client_of: Clients, parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = submitted(ada)
    path = f"{ENVIRONMENTS}/{found['id']}"
    bob = client_of("bob")
    problem(bob.get(path), 404)  # who is known by now, and so is ada
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "_call", lambda *_, **__: pytest.fail("a second trip"))
        assert ada.get(path).get_json() == found
        problem(bob.get(path), 404)
        problem(ada.get(f"{ENVIRONMENTS}/{ids.new_id()}"), 404)
    assert ada.get(path, headers={"If-None-Match": ada.get(path).headers["ETag"]}).status_code == 304
    parts.ledger.delete(found["id"])
    assert ada.get(path).get_json()["state"] == "deleted"
    parts.accounts.set_disabled("ada", True)
    problem(ada.get(path), 401)


def test_a_look_is_answered_where_redis_refused_the_question_beside_the_token(
    ada: FlaskClient, parts: Services
) -> None:
    found = submitted(ada)
    path = f"{ENVIRONMENTS}/{found['id']}"
    parts.ledger.redis.function_flush("SYNC")  # a Redis that was restored from before this version
    assert ada.get(path).get_json() == found


def test_what_waits_has_its_place(ada: FlaskClient) -> None:
    first, second = submitted(ada), submitted(ada)
    assert (first["state"], first["progress"], first["position"], first["started_at"]) == ("queued", 0, 1, None)
    assert (second["position"], second["host"], second["reason"]) == (2, "", "")


@pytest.mark.parametrize("example", ["data-science.json", "plain.toml"])
@pytest.mark.parametrize("way", ["body", "upload", "upload with a type"])
def test_every_format_in_every_way(ada: FlaskClient, example: str, way: str) -> None:
    body, kind = (EXAMPLES / example).read_bytes(), f"application/{example.rpartition('.')[2]}"
    if way == "body":
        answer = ada.post(ENVIRONMENTS, data=body, content_type=kind)
    else:
        name = example if way == "upload" else "contract"
        kind = "application/octet-stream" if way == "upload" else kind
        answer = ada.post(ENVIRONMENTS, data={"file": (io.BytesIO(body), name, kind)})
    assert answer.status_code == 202, answer.text
    assert answer.get_json()["name"] == example.partition(".")[0]


def test_gpus_come_by_uuid(ada: FlaskClient, host: SimulatedHost) -> None:
    found = submitted(ada, resources={"gpu": "H200:1"})
    assert until(ada, found["id"], "running")["gpus"] == ["GPU-1"]


def test_the_life_of_an_environment(ada: FlaskClient, host: SimulatedHost) -> None:
    at = f"{ENVIRONMENTS}/{submitted(ada)['id']}"
    env_id = at.rpartition("/")[2]
    until(ada, env_id, "running")
    assert ada.post(f"{at}/stop").status_code == 202
    until(ada, env_id, "stopped")
    assert ada.post(f"{at}/stop").status_code == 202  # again changes nothing
    assert ada.post(f"{at}/start").status_code == 202
    until(ada, env_id, "running")
    assert ada.delete(at).status_code == 202
    until(ada, env_id, "deleted")
    assert ada.delete(at).status_code == 202  # again changes nothing
    problem(ada.post(f"{at}/start"), 409)
    problem(ada.post(f"{at}/stop"), 409)


def test_a_failure_has_its_reason(ada: FlaskClient, host: SimulatedHost) -> None:
    found = until(ada, submitted(ada, language={"libraries": ["nosuchlib"]})["id"], "failed")
    assert found["reason"] == "libraries_unresolvable"
    assert "we conclude" in found["message"]
    log = ada.get(f"{ENVIRONMENTS}/{found['id']}/logs")
    assert log.content_type == "text/plain; charset=utf-8"
    assert log.text == "line 10\nline 40\nline 60\nnosuchlib was not found\n"


# what is refused


BAD: list[tuple[str, bytes, str, int]] = [
    ("", b"", "application/json", 422),
    ("", b"{", "application/json", 422),
    ("", b"[]", "application/json", 422),
    ("", b"null", "application/json", 422),
    ("", b"\xff", "application/json", 422),
    ("", b"[" * 30_000, "application/json", 422),
    ("", b'{"a":' * 30 + b"1" + b"}" * 30, "application/json", 422),
    ("a", b'{"a": 1, "a": 1}', "application/json", 422),
    ("", b'{"priority": NaN}', "application/json", 422),
    ("priority", b'{"priority": 1e400}', "application/json", 422),
    ("languag", b'{"languag": {}}', "application/json", 422),
    ("resources.ram", b'{"resources": {"ram": "-1GB"}}', "application/json", 422),
    ("resources.cpu", b'{"resources": {"cpu": ["1"]}}', "application/json", 422),
    ("resources.storage", b'{"resources": {"storage": "999999TB"}}', "application/json", 422),
    ("resources.gpu", b'{"resources": {"gpu": "-1"}}', "application/json", 422),
    ("env-name", b'{"env-name": "a\\nb"}', "application/json", 422),
    ("env-name", b'{"env-name": "a\\u0000b"}', "application/json", 422),
    ("env-name", b'{"env-name": "\\ud800"}', "application/json", 422),
    ("language.libraries[0]", b'{"language": {"libraries": ["numpy; rm -rf /"]}}', "application/json", 422),
    ("language.libraries[0]", b'{"language": {"libraries": ["--index-url=http://x"]}}', "application/json", 422),
    ("language.libraries[0]", b'{"language": {"libraries": ["git+https://x/y"]}}', "application/json", 422),
    ("language.libraries", json.dumps({"language": {"libraries": ["x"] * 1000}}).encode(), "application/json", 422),
    ("", json.dumps({f"k{n}": 1 for n in range(1000)}).encode(), "application/json", 422),
    ("", b"a: &a [1]\nb: *a\n", "application/yaml", 422),
    ("", b"a: !!python/object/apply:os.system [id]\n", "application/yaml", 422),
    ("", b"a = 1\na = 2\n", "application/toml", 422),
    ("", b"x" * 70_000, "application/json", 413),
    ("", b"x" * 90_000, "application/json", 413),
    ("", b"x" * 10_000_000, "application/json", 413),
    ("", b"a=b", "application/x-www-form-urlencoded", 415),
    ("", b"<a/>", "text/xml", 415),
    ("", b"x", "multipart/form-data; boundary=x", 400),
    ("", b"x", "multipart/form-data", 400),
]


@pytest.mark.parametrize(("path", "body", "kind", "status"), BAD, ids=lambda v: str(v)[:30])
def test_bad_input_is_refused_at_once_and_nothing_is_stored(
    ada: FlaskClient, parts: Services, path: str, body: bytes, kind: str, status: int
) -> None:
    ada.get(ENVIRONMENTS)  # the token's first use is written down
    before = sorted(parts.ledger.redis.keys())
    began = time.process_time()
    answer = ada.post(ENVIRONMENTS, data=body, content_type=kind)
    assert time.process_time() - began < 0.1
    found = problem(answer, status)
    if status == 422:
        assert [error["path"] for error in found["errors"]] == [path]
    assert len(answer.data) < 10_000
    assert sorted(set(parts.ledger.redis.keys()) - {parts.keys.audit()}) == before


def test_all_problems_are_told_at_once(ada: FlaskClient) -> None:
    found = problem(ada.post(ENVIRONMENTS, json={"resources": {"ram": "x", "cpu": "y"}, "languag": 1}), 422)
    assert [error["path"] for error in found["errors"]] == ["languag", "resources.cpu", "resources.ram"]
    assert "3 problems" in found["detail"]


@pytest.mark.parametrize("files", [0, 2])
def test_an_upload_is_one_file(ada: FlaskClient, files: int) -> None:
    data = {f"f{n}": (io.BytesIO(b"{}"), f"f{n}.json") for n in range(files)} | {"note": "x"}
    answer = ada.post(ENVIRONMENTS, data=data, content_type="multipart/form-data")
    assert f"this form has {files}" in problem(answer, 400)["detail"]


def test_what_no_host_could_ever_hold_is_refused_with_what_would_fit(ada: FlaskClient, host: SimulatedHost) -> None:
    found = problem(ada.post(ENVIRONMENTS, json={"resources": {"ram": "64GiB", "gpu": "8"}}), 422)
    said = {error["path"]: error["message"] for error in found["errors"]}
    assert set(said) == {"resources.ram", "resources.gpu"}
    assert "15.6 GiB" in said["resources.ram"]
    assert "1 such GPUs" in said["resources.gpu"]
    assert submitted(ada, resources={"ram": "64GiB"}, wait=True)["state"] == "queued"


def test_a_system_that_no_host_has_is_refused_with_those_to_be_had(ada: FlaskClient, host: SimulatedHost) -> None:
    answer = ada.post(ENVIRONMENTS, json={"os": {"image-name": "win", "version": "95"}})
    assert answer.status_code == 422
    [problem] = answer.get_json()["errors"]
    assert problem["path"] == "os"
    assert "No host has win 95" in problem["message"]
    assert "debian 12 with python 3.11" in problem["message"]
    assert ada.get(ENVIRONMENTS).get_json()["environments"] == []
    assert submitted(ada, os={"image-name": "win", "version": "95"}, wait=True)["state"] == "queued"


def test_a_priority_above_the_usual_needs_an_admin(ada: FlaskClient, client_of: Clients) -> None:
    assert "admin" in problem(ada.post(ENVIRONMENTS, json={"priority": 6}), 403)["detail"]
    assert submitted(client_of("root", "admin"), priority=9)["contract"]["priority"] == "9"
    problem(client_of("root", scopes=["read", "submit"]).post(ENVIRONMENTS, json={"priority": 6}), 403)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v2/environments", 404),
        ("PUT", ENVIRONMENTS, 405),
        ("DELETE", "/healthz", 405),
        ("GET", f"{ENVIRONMENTS}/zzz", 404),
        ("GET", f"{ENVIRONMENTS}/{'0' * 15}", 404),
        ("GET", f"{ENVIRONMENTS}/{'x' * 1000}", 404),
        ("GET", f"{ENVIRONMENTS}/%00%0a", 404),
        ("GET", f"{ENVIRONMENTS}/../../etc/passwd", 404),
        ("GET", f"{ENVIRONMENTS}?limit=", 400),
        ("GET", f"{ENVIRONMENTS}?limit=0", 400),
        ("GET", f"{ENVIRONMENTS}?limit=101", 400),
        ("GET", f"{ENVIRONMENTS}?limit=²", 400),
        ("GET", f"{ENVIRONMENTS}?state=sleeping", 400),
        ("GET", f"{ENVIRONMENTS}?cursor=x", 400),
        ("GET", f"{ENVIRONMENTS}?cursor=AAAA", 400),
        ("GET", f"{ENVIRONMENTS}?cursor=é", 400),
        ("GET", f"{ENVIRONMENTS}?owner=eve", 403),
        ("GET", "/api/v1/channels/x/output", 404),
        ("GET", f"/api/v1/channels/{'0' * 41}/output", 404),
        ("DELETE", f"/api/v1/channels/{'0' * 41}", 404),
    ],
)
def test_every_error_is_a_problem(ada: FlaskClient, method: str, path: str, status: int) -> None:
    problem(ada.open(path, method=method), status)


def test_a_wrong_method_says_which_are_right(ada: FlaskClient) -> None:
    answer = ada.patch(ENVIRONMENTS)
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize("key", ["x" * 201, "a\x01b", "é"])
def test_an_idempotency_key_is_short_and_plain(ada: FlaskClient, key: str) -> None:
    problem(ada.post(ENVIRONMENTS, json={}, headers={"Idempotency-Key": key}), 400)


def test_an_error_of_our_own_is_a_problem_without_details(
    app: Flask, ada: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("secret")

    app.view_functions["hosts.hosts"] = broken
    answer = ada.get("/api/v1/hosts", headers={"X-Request-Id": "abc-1"})
    found = problem(answer, 500)
    assert "secret" not in json.dumps(found)
    assert "server's log" in found["detail"]
    assert "request abc-1 failed" in caplog.text
    assert answer.headers["X-Request-Id"] == "abc-1"


@pytest.mark.parametrize("given", ["a b", "x" * 65, "<script>", "a\tb"])
def test_a_request_id_that_could_forge_a_log_is_replaced(ada: FlaskClient, given: str) -> None:
    assert ids.PATTERN.fullmatch(ada.get("/healthz", headers={"X-Request-Id": given}).headers["X-Request-Id"])


# idempotency, conditional requests, pages


def test_the_same_key_and_contract_give_the_first_environment_again(ada: FlaskClient, client_of: Clients) -> None:
    def post(client: FlaskClient, body: str) -> TestResponse:
        headers = {"Idempotency-Key": "k1", "Content-Type": "application/json"}
        return client.post(ENVIRONMENTS, data=body, headers=headers)

    first = post(ada, '{"env-name": "a"}')
    again = post(ada, ' {"env-name":"a", "priority": "5"}')  # the same contract, written otherwise
    assert again.status_code == 202
    assert again.get_json()["id"] == first.get_json()["id"]
    problem(post(ada, '{"env-name": "b"}'), 422)
    other = post(client_of("eve"), '{"env-name": "b"}')  # a key belongs to its user
    assert other.get_json()["id"] != first.get_json()["id"]
    assert len(ada.get(ENVIRONMENTS).get_json()["environments"]) == 1


def test_without_a_key_each_is_new(ada: FlaskClient) -> None:
    assert submitted(ada, **{"env-name": "a"})["id"] != submitted(ada, **{"env-name": "a"})["id"]


def test_what_did_not_change_is_not_sent_again(ada: FlaskClient, host: SimulatedHost) -> None:
    at = f"{ENVIRONMENTS}/{submitted(ada)['id']}"
    until(ada, at.rpartition("/")[2], "running")
    first = ada.get(at)
    same = ada.get(at, headers={"If-None-Match": first.headers["ETag"]})
    assert (same.status_code, same.data) == (304, b"")
    assert same.headers["ETag"] == first.headers["ETag"]
    ada.post(f"{at}/stop")
    assert ada.get(at, headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_the_etag_follows_the_place_in_the_queue(ada: FlaskClient) -> None:
    first, second = (submitted(ada)["id"] for _ in range(2))
    before = ada.get(f"{ENVIRONMENTS}/{second}")
    assert before.get_json()["position"] == 2
    ada.delete(f"{ENVIRONMENTS}/{first}")
    after = ada.get(f"{ENVIRONMENTS}/{second}", headers={"If-None-Match": before.headers["ETag"]})
    assert after.get_json()["position"] == 1


def test_a_client_can_wait_for_a_change(ada: FlaskClient, host: SimulatedHost) -> None:
    at = f"{ENVIRONMENTS}/{submitted(ada, language={'libraries': ['slow']})['id']}"
    for _ in range(20):
        found = ada.get(at)
        if found.get_json()["progress"] == 60:
            break
        time.sleep(0.05)
    etag = {"If-None-Match": found.headers["ETag"]}

    began = time.monotonic()
    same = ada.get(at, headers={**etag, "Prefer": "wait=1"})
    assert (same.status_code, same.headers["Preference-Applied"]) == (304, "wait=1")
    assert 0.9 < time.monotonic() - began < 3

    began = time.monotonic()
    threading.Timer(0.5, host.go_on.set).start()
    weak = {"If-None-Match": f"W/{found.headers['ETag']}"}  # as a proxy that packs answers makes of it
    changed = ada.get(at, headers={**weak, "Prefer": 'respond-async, Wait="30"'})
    assert changed.status_code == 200
    assert time.monotonic() - began < 3
    assert (
        ada.get(at, headers={"Prefer": "wait=9999", "If-None-Match": '"0-0"'}).headers["Preference-Applied"]
        == "wait=60"
    )


def test_pages_of_the_list(ada: FlaskClient) -> None:
    made = [submitted(ada)["id"] for _ in range(5)]
    seen, cursor = [], ""
    while True:
        page = ada.get(f"{ENVIRONMENTS}?limit=2&cursor={cursor}").get_json()
        assert len(page["environments"]) <= 2
        seen += [e["id"] for e in page["environments"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == sorted(made, reverse=True)
    assert [e["id"] for e in ada.get(f"{ENVIRONMENTS}?state=running,deleted").get_json()["environments"]] == []
    ada.delete(f"{ENVIRONMENTS}/{made[0]}")
    found = ada.get(f"{ENVIRONMENTS}?state=deleted&state=failed").get_json()["environments"]
    assert [e["id"] for e in found] == [made[0]]


# live


def test_history_long_poll_and_stream_tell_the_same(ada: FlaskClient, host: SimulatedHost) -> None:
    env_id = submitted(ada, language={"libraries": ["nosuchlib"]})["id"]
    at = f"{ENVIRONMENTS}/{env_id}/events"
    streamed = _stream(ada.get(at, headers={"Accept": "text/event-stream"}))
    assert [event["state"] for _, event in streamed][0::99] == ["queued"]
    assert streamed[-1][1]["state"] == "failed"
    history = ada.get(at).get_json()["events"]
    assert history == [event for _, event in streamed]
    assert [event_id for event_id, _ in streamed] == [event["id"] for event in history]
    assert [event["progress"] for event in history] == sorted(event["progress"] for event in history)

    third = history[2]["id"]
    assert ada.get(f"{at}?after={third}").get_json()["events"] == history[3:]
    resumed = _stream(ada.get(at, headers={"Accept": "text/event-stream", "Last-Event-ID": third}))
    assert [event for _, event in resumed] == history[3:]
    over = ada.get(at, headers={"Accept": "text/event-stream", "Last-Event-ID": history[-1]["id"]})
    assert over.status_code == 204  # a browser stops coming back
    problem(ada.get(at, headers={"Last-Event-ID": "x"}), 400)


def test_a_stream_is_marked_for_proxies_and_ends_by_itself(ada: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.streams.LIFE_SECONDS", 0.5)
    monkeypatch.setattr("api.streams.PING_SECONDS", 0.2)
    answer = ada.get(f"{ENVIRONMENTS}/{submitted(ada)['id']}/events", headers={"Accept": "text/event-stream"})
    assert answer.content_type == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Cache-Control"] == "no-store"
    text = answer.text
    assert text.startswith("retry: ")
    assert 1 <= text.count(": ping") <= 3


def test_watchers_are_let_go(ada: FlaskClient, parts: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.streams.LIFE_SECONDS", 0.2)
    env_id = submitted(ada)["id"]
    answer = ada.get(f"{ENVIRONMENTS}/{env_id}/events", headers={"Accept": "text/event-stream"})
    assert answer.text
    assert parts.feed.watchers() == 0
    assert parts.feed._watchers == {}  # nor does anything grow


def test_who_watches_is_woken_when_the_feed_comes_back(parts: Services) -> None:
    """What happened while nobody listened would be missed until the next event."""
    with parts.feed.watch("e") as wake:
        assert wake.wait(5)  # subscribed
        wake.clear()
        assert not wake.wait(0.3)
        parts.ledger.redis.client_kill_filter(_type="pubsub")
        assert wake.wait(5)
        wake.clear()
        parts.ledger.redis.publish(parts.keys.feed(), '{"env": "other"}')
        assert not wake.wait(0.3)
        parts.ledger.redis.publish(parts.keys.feed(), '{"env": "e"}')
        assert wake.wait(5)


def _stream(answer: TestResponse) -> list[tuple[str, dict[str, Any]]]:
    assert answer.status_code == 200
    found, ended = [], False
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields.get("event") == "end":
            ended = True
        elif "data" in fields:
            found.append((fields["id"], json.loads(fields["data"])))
    assert ended
    return found


def test_a_followed_log_ends_with_the_making(ada: FlaskClient, host: SimulatedHost) -> None:
    env_id = submitted(ada)["id"]
    assert ada.get(f"{ENVIRONMENTS}/{env_id}/logs?follow=1").text == "line 10\nline 40\nline 60\n"
    problem(ada.get(f"{ENVIRONMENTS}/{env_id}/logs?source=kernel"), 400)


def test_a_log_that_is_not_followed_is_what_there_is_now(ada: FlaskClient, host: SimulatedHost) -> None:
    at = f"{ENVIRONMENTS}/{submitted(ada, language={'libraries': ['slow']})['id']}/logs"
    began = time.monotonic()
    while "line 60" not in ada.get(at).text:
        time.sleep(0.02)
    assert ada.get(at).text == "line 10\nline 40\nline 60\n"
    assert time.monotonic() - began < 10  # it would go on after 20 seconds


# commands


def test_a_command_and_its_streams(ada: FlaskClient, host: SimulatedHost) -> None:
    at = f"{ENVIRONMENTS}/{submitted(ada)['id']}"
    until(ada, at.rpartition("/")[2], "running")
    answer = ada.post(f"{at}/exec", json={"command": ["cat"]})
    assert answer.status_code == 201, answer.text
    links = answer.get_json()["links"]
    assert ada.post(links["input"], json={"seq": 1, "data": "AP8K"}).status_code == 204
    assert ada.post(links["input"], json={"seq": 2, "rows": 40, "cols": 132}).status_code == 204
    assert ada.post(links["input"], json={"seq": 3, "close": True}).status_code == 204
    entries = [json.loads(line[6:]) for line in ada.get(links["output"]).text.splitlines() if line.startswith("data: ")]
    assert entries[0]["kind"] == "opened"
    data = "".join(entry["data"] for entry in entries if entry["kind"] == "out")
    assert "AP8K" in data
    assert entries[-1] == {"kind": "exit", "code": 0}
    assert ada.delete(answer.headers["Location"]).status_code == 204
    problem(ada.get(links["output"]), 410)
    assert ada.get(f"{at}/logs?source=container").text == "hello from the container\n"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "command"),
        ({"command": []}, "command"),
        ({"command": "ls"}, "command"),
        ({"command": [""]}, "command"),
        ({"command": ["a", 1]}, "command[1]"),
        ({"command": ["a\0"]}, "command[0]"),
        ({"command": ["a"] * 257}, "command"),
        ({"command": ["a" * 40_000]}, "command"),
        ({"command": ["a"], "tty": "yes"}, "tty"),
        ({"command": ["a"], "rows": 0}, "rows"),
        ({"command": ["a"], "cols": True}, "cols"),
        ([], ""),
    ],
)
def test_a_command_that_makes_no_sense(ada: FlaskClient, body: Any, path: str) -> None:
    found = problem(ada.post(f"{ENVIRONMENTS}/{submitted(ada)['id']}/exec", json=body), 422)
    assert [error["path"] for error in found["errors"]] == [path]


@pytest.mark.parametrize(
    "body",
    [
        {"seq": 1},
        {"seq": 1, "data": "!"},
        {"seq": 1, "data": ""},
        {"seq": 1, "data": 5},
        {"seq": 1, "data": "A" * 24_000},
        {"seq": 1, "rows": 1},
        {"seq": 1, "rows": 1, "cols": -1},
        {"data": "AA=="},
        {"seq": 0, "data": "AA=="},
        {"seq": "1", "data": "AA=="},
        {"seq": 2**60, "data": "AA=="},
    ],
)
def test_input_that_makes_no_sense(ada: FlaskClient, host: SimulatedHost, body: Any) -> None:
    at = f"{ENVIRONMENTS}/{submitted(ada)['id']}"
    until(ada, at.rpartition("/")[2], "running")
    answer = ada.post(f"{at}/exec", json={"command": ["cat"]}).get_json()
    problem(ada.post(answer["links"]["input"], json=body), 422)
    ada.delete(f"/api/v1/channels/{answer['channel']}")


def test_what_does_not_run_has_no_commands_and_no_container_log(ada: FlaskClient) -> None:
    at = f"{ENVIRONMENTS}/{submitted(ada)['id']}"
    assert "is queued" in problem(ada.post(f"{at}/exec", json={"command": ["ls"]}), 409)["detail"]
    problem(ada.get(f"{at}/logs?source=container"), 409)


def test_a_worker_that_does_not_answer_is_said_to(
    ada: FlaskClient, host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = f"{ENVIRONMENTS}/{submitted(ada)['id']}"
    until(ada, at.rpartition("/")[2], "running")
    host.become_deaf()
    monkeypatch.setattr("common.channel.OPEN_SECONDS", 1)
    assert "does not answer" in problem(ada.post(f"{at}/exec", json={"command": ["ls"]}), 503)["detail"]


# hosts and health


def test_hosts(ada: FlaskClient, client_of: Clients, host: SimulatedHost) -> None:
    env_id = submitted(ada, resources={"cpu": "2", "ram": "1GiB", "storage": "1GiB", "gpu": "1"})["id"]
    until(ada, env_id, "running")
    [found] = ada.get("/api/v1/hosts").get_json()["hosts"]
    assert (found["name"], found["state"], found["environment_count"], found["environments"]) == ("sim", "ready", 1, [])
    assert found["cpu_milli"] == {"total": 8000, "free": 6000}
    assert found["ram_mib"] == {"total": 16_000, "free": 14_976}
    assert found["gpus"] == [
        {"uuid": "GPU-1", "model": "NVIDIA H200", "memory_mib": 143_771, "healthy": True, "free": False}
    ]
    [seen_by_admin] = client_of("root", "admin").get("/api/v1/hosts").get_json()["hosts"]
    assert seen_by_admin["environments"] == [env_id]


def test_the_catalogue(ada: FlaskClient, host: SimulatedHost) -> None:
    env_id = submitted(ada, resources={"cpu": "2", "ram": "1GiB", "storage": "1GiB", "gpu": "1"})["id"]
    until(ada, env_id, "running")
    found = ada.get("/api/v1/catalog").get_json()
    [system] = found["systems"]
    assert (system["image-name"], system["version"], system["tags"]) == ("debian", "12", ["", "slim"])
    assert system["languages"] == [{"image-name": "python", "versions": ["3.11"]}]
    [gpu] = found["gpus"]
    assert (gpu["total"], gpu["free"]) == (1, 0)
    room = {"cpu_milli": 6000, "ram_mib": 14_976, "storage_mib": 98_976, "gpus": 0}
    assert found["largest"]["now"] == room | {"together": [room]}
    assert found["largest"]["ever"]["gpus"] == 1


def test_health(app: Flask, redis_url: str) -> None:
    client = app.test_client()
    assert client.get("/healthz").get_json() == {"status": "ok"}
    assert "No worker" in problem(client.get("/readyz"), 503)["detail"]
    host = SimulatedHost(redis_url)
    host.start()
    assert client.get("/readyz").get_json() == {"status": "ready", "workers": 1}
    host.stop()


def test_without_redis_every_call_is_503_and_soon() -> None:
    app = api.create_app(Settings.from_env({"DCLOUD_REDIS_URL": "redis://127.0.0.1:1/0"}))
    client = app.test_client()
    token = "dc_u_0000000000_000000000000000000000000000000000000000"
    from common.tokens import _checksum

    headers = {"Authorization": f"Bearer {token[:-7]}{_checksum(token[:-7])}"}
    for path in (ENVIRONMENTS, f"{ENVIRONMENTS}/{'0' * 15}", "/api/v1/hosts", "/readyz"):
        began = time.monotonic()
        answer = client.get(path, headers=headers)
        problem(answer, 503)
        assert int(answer.headers["Retry-After"]) > 0
        assert time.monotonic() - began < 2
    assert client.get("/healthz").status_code == 200


def test_a_redis_that_is_full_is_503_and_nothing_is_half_written(ada: FlaskClient, parts: Services) -> None:
    ada.get(ENVIRONMENTS)
    redis = parts.ledger.redis
    before = sorted(redis.keys())
    redis.config_set("maxmemory", 1)
    try:
        answer = ada.post(ENVIRONMENTS, json={})
    finally:
        redis.config_set("maxmemory", 0)
    problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert sorted(redis.keys()) == before
    assert submitted(ada)["state"] == "queued"


def test_a_restored_redis_without_functions_is_given_them_again(ada: FlaskClient, parts: Services) -> None:
    submitted(ada)
    parts.ledger.redis.function_flush("SYNC")
    assert submitted(ada)["state"] == State.QUEUED


def test_the_api_and_another_caller_of_the_ledger_see_the_same(ada: FlaskClient, settings: Settings) -> None:
    found = submitted(ada, **{"env-name": "shared"})
    assert Ledger.connect(settings).get(found["id"]).name == "shared"
