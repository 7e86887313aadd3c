"""What clients of HTTP APIs expect of each: conditions, keys for calls that come twice, limits, deadlines."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from redis import Redis
from simulated_host import SimulatedHost
from test_api import ENVIRONMENTS, problem, submitted, until

import api
from api.services import Services
from common.errors import Changed, TooMany
from common.keys import Keys
from common.rates import PARTS, Rates
from common.settings import Settings

USERS, TOKENS = "/api/v1/users", "/api/v1/tokens"
Clients = Callable[..., FlaskClient]


@pytest.fixture
def root(client_of: Clients) -> FlaskClient:
    return client_of("root", "admin")


# conditions


def test_what_changed_meanwhile_is_not_acted_upon(ada: FlaskClient, host: SimulatedHost) -> None:
    env_id = submitted(ada)["id"]
    at = f"{ENVIRONMENTS}/{env_id}"
    before = ada.get(at).headers["ETag"]
    until(ada, env_id, "running")
    for call in (lambda h: ada.post(f"{at}/stop", headers=h), lambda h: ada.delete(at, headers=h)):
        assert "Look again" in problem(call({"If-Match": before}), 412)["detail"]
        problem(call({"If-Match": '"x"'}), 412)
    assert ada.get(at).get_json()["state"] == "running"
    now = ada.get(at).headers["ETag"]
    assert ada.post(f"{at}/stop", headers={"If-Match": f'"x", {now}'}).status_code == 202
    until(ada, env_id, "stopped")
    problem(ada.post(f"{at}/start", headers={"If-Match": now}), 412)
    assert ada.delete(at, headers={"If-Match": "*"}).status_code == 202


def test_the_ledger_itself_looks_at_the_version(ada: FlaskClient, host: SimulatedHost, parts: Services) -> None:
    """What changes between the API's look and the act is not acted upon either; what is sent twice is done once."""
    env_id, ledger = submitted(ada)["id"], parts.ledger
    seen = ledger.get(env_id)
    until(ada, env_id, "running")
    for act in (ledger.stop, ledger.delete):
        with pytest.raises(Changed):
            act(env_id, seen=seen)
    running = ledger.get(env_id)
    for _ in range(2):
        ledger.stop(env_id, seen=running)
    until(ada, env_id, "stopped")
    with pytest.raises(Changed):
        ledger.start(env_id, seen=running)
    stopped = ledger.get(env_id)
    for _ in range(2):
        ledger.start(env_id, seen=stopped)
    until(ada, env_id, "running")
    for _ in range(2):
        ledger.delete(env_id, seen=ledger.get(env_id))


@pytest.mark.parametrize("path", [ENVIRONMENTS, USERS, TOKENS, f"{USERS}/me", f"{USERS}/me/quota", "/api/v1/quota"])
def test_every_json_answer_has_an_etag(root: FlaskClient, path: str) -> None:
    root.get(TOKENS)  # the token's first use changes its record
    first = root.get(path)
    again = root.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


# a call that comes twice


def test_a_key_gives_the_first_answer_again(root: FlaskClient, parts: Services) -> None:
    def post(body: dict[str, Any], key: str = "k") -> Any:
        return root.post(USERS, json=body, headers={"Idempotency-Key": key})

    first, again = post({"name": "ada"}), post({"name": "ada"})
    assert first.status_code == again.status_code == 201
    assert again.get_json() == first.get_json()
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    problem(post({"name": "eve"}), 422)
    problem(post({"name": "ada"}, "another"), 409)
    problem(post({"name": "ADA"}, "mended"), 422)
    assert post({"name": "eve"}, "mended").status_code == 201
    assert all(0 < parts.ledger.redis.ttl(key) <= 86400 for key in parts.ledger.redis.keys("*:idempotent:*"))


def test_a_key_whose_call_is_under_way_is_409(app: Flask, client_of: Clients) -> None:
    began, go_on = threading.Event(), threading.Event()
    real = app.extensions["dcloud"].accounts.create_user

    def slow(*arguments: Any) -> Any:
        began.set()
        assert go_on.wait(20)
        return real(*arguments)

    first, second = client_of("root", "admin"), client_of("root", "admin")
    app.extensions["dcloud"].accounts.create_user = slow
    ask = {"json": {"name": "ada"}, "headers": {"Idempotency-Key": "k"}}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: first.post(USERS, **ask))
        assert began.wait(20)
        refused = second.post(USERS, **ask)
        go_on.set()
        assert answer.result().status_code == 201
    assert "under way" in problem(refused, 409)["detail"]
    assert refused.headers["Retry-After"] == "1"
    assert second.post(USERS, **ask).status_code == 201


def test_a_secret_is_not_kept_for_a_second_answer(ada: FlaskClient, client_of: Clients, parts: Services) -> None:
    ask = {"json": {"name": "ci"}, "headers": {"Idempotency-Key": "k"}}
    made = ada.post(TOKENS, **ask).get_json()
    assert made["id"] in problem(ada.post(TOKENS, **ask), 409)["detail"]
    assert len(ada.get(TOKENS).get_json()["tokens"]) == 2
    kept = json.dumps([parts.ledger.redis.get(key) for key in parts.ledger.redis.keys("*:idempotent:*")])
    assert made["token"].split("_")[3] not in kept
    assert client_of("eve").post(TOKENS, **ask).status_code == 201  # a key belongs to its user


def test_a_call_that_breaks_leaves_its_key_free(app: Flask, root: FlaskClient) -> None:
    def broken(*_: Any) -> Response:
        raise RuntimeError("broken")

    accounts = app.extensions["dcloud"].accounts
    ask = {"json": {"name": "ada"}, "headers": {"Idempotency-Key": "k"}}
    accounts.create_user = broken
    problem(root.post(USERS, **ask), 500)
    del accounts.create_user
    assert root.post(USERS, **ask).status_code == 201


# limits


@pytest.mark.parametrize(
    ("path", "body"), [("/api/v1/tokens", {"name": "x"}), ("/api/v1/webhooks", {"url": "https://example.org/"})]
)
def test_what_is_taken_away_is_what_was_seen(ada: FlaskClient, path: str, body: dict[str, Any]) -> None:
    at = ada.post(path, json=body).headers["Location"]
    problem(ada.delete(at, headers={"If-Match": '"another"'}), 412)
    etag = ada.get(at).headers["ETag"]
    assert ada.delete(at, headers={"If-Match": etag}).status_code == 204


@pytest.fixture
def limited(settings: Settings) -> Flask:
    """An application that lets each user make 120 requests a minute, which is 20 in 10 seconds."""
    given = {
        "DCLOUD_REDIS_URL": settings.redis_url,
        "DCLOUD_VAR_DIR": str(settings.var_dir),
        "DCLOUD_RATE_LIMIT": "120",
    }
    return api.create_app(Settings.from_env(given))


def early_in_a_window() -> None:
    while time.time() % 10 > 6:
        time.sleep(0.1)


def test_who_asks_too_often_is_told_when_to_come_back(limited: Flask, token_of: Callable[..., str]) -> None:
    tokens = {user: {"Authorization": f"Bearer {token_of(user)}"} for user in ("ada", "eve")}
    client = limited.test_client()
    early_in_a_window()
    codes = [client.get(ENVIRONMENTS, headers=tokens["ada"]).status_code for _ in range(20)]
    assert codes == [200] * 20
    answer = client.get(ENVIRONMENTS, headers=tokens["ada"])
    assert problem(answer, 429)["type"] == "urn:dcloud:problem:too-many"
    assert 1 <= int(answer.headers["Retry-After"]) <= 10
    assert client.get(ENVIRONMENTS, headers=tokens["eve"]).status_code == 200
    codes = [client.get(ENVIRONMENTS).status_code for _ in range(21)]
    assert codes == [401] * 20 + [429]  # nobody is limited too, by address


def test_the_list_on_the_page_counts_too(limited: Flask, token_of: Callable[..., str]) -> None:
    client = limited.test_client()
    assert client.post("/sign-in", data={"token": token_of("ada")}).status_code == 303
    early_in_a_window()
    assert [client.get("/").status_code for _ in range(21)] == [200] * 20 + [429]


def test_who_has_many_streams_open_is_told_to_close_one(settings: Settings, token_of: Callable[..., str]) -> None:
    client = api.create_app(replace(settings, stream_limit=2)).test_client()
    ada, eve = ({"Authorization": f"Bearer {token_of(user)}"} for user in ("ada", "eve"))
    made = [client.post(ENVIRONMENTS, json={}, headers=headers).headers["Location"] for headers in (ada, eve)]
    ours, theirs = f"{made[0]}/events", f"{made[1]}/events"
    sse = {"Accept": "text/event-stream"}
    opened = [client.get(ours, headers=ada | sse) for _ in range(2)]
    assert [answer.status_code for answer in opened] == [200, 200]
    refused = client.get(ours, headers=ada | sse)
    assert problem(refused, 429)["type"] == "urn:dcloud:problem:too-many"
    assert int(refused.headers["Retry-After"]) > 0
    assert client.get(ours, headers=ada).status_code == 200  # what has an end is no stream
    waiting = {"Prefer": "wait=1"}
    problem(client.get(made[0], headers=ada | waiting), 429)
    assert client.get(made[0], headers=ada).status_code == 200
    assert client.get(made[1], headers=eve | waiting).status_code == 200
    other = client.get(theirs, headers=eve | sse)
    assert other.status_code == 200
    opened[0].close()
    for _ in range(2):  # one that has waited is no longer open
        assert client.get(made[0], headers=ada | waiting).status_code == 200
    again = client.get(ours, headers=ada | sse)
    assert again.status_code == 200
    for answer in (opened[1], other, again):
        answer.close()


def test_processes_count_together_and_tell_redis_seldom(redis_url: str) -> None:
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        processes = [Rates(redis, Keys("t"), 6000) for _ in range(4)]
        early_in_a_window()
        redis.config_resetstat()
        let = 0
        for number in range(4 * 1000):
            try:
                processes[number % 4].spend("ada")
                let += 1
            except TooMany:
                pass
        assert 1000 <= let <= 1000 + 4 * 1000 // PARTS
        assert redis.info("commandstats")["cmdstat_incrby"]["calls"] <= PARTS + 8


def test_proxies_are_believed_only_where_they_are(settings: Settings) -> None:
    def address(proxies: int) -> str:
        app = api.create_app(replace(settings, proxies=proxies))
        client = app.test_client()
        client.post("/sign-in", data={"name": "x", "password": "y"}, headers={"X-Forwarded-For": "6.6.6.6, 10.0.0.7"})
        parts: Services = app.extensions["dcloud"]
        [key] = parts.ledger.redis.keys("*:attempts:address:*")
        parts.ledger.redis.flushall()
        return str(key).rpartition(":")[2]

    assert (address(0), address(1)) == ("127.0.0.1", "10.0.0.7")
