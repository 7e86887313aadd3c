"""A look that finds what the one before found is answered without the application, and never with what has changed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_fixtures import serving
from flask import Flask, request
from flask.testing import FlaskClient
from ledger_parts import OneHost
from redis import Redis

from api import glances
from api.services import Services
from api.together import Together
from common.accounts import Accounts
from common.keys import Keys
from common.states import Phase, State
from common.tokens import id_of
from deploy.redis_server import free_port

ENVIRONMENTS = "/api/v1/environments"


@pytest.fixture
def handled(app: Flask) -> list[str]:
    """The paths of all requests that the application itself answered."""
    paths: list[str] = []
    app.before_request(lambda: paths.append(request.path))
    return paths


@pytest.fixture
def at(handled: list[str], ada: FlaskClient) -> str:
    """An environment of ada's that was looked at until its answer is known."""
    found = f"{ENVIRONMENTS}/{ada.post(ENVIRONMENTS, json={}).get_json()['id']}"
    for _ in range(2):
        assert ada.get(found).status_code == 200
    handled.clear()
    return found


def token_id(client: FlaskClient) -> str:
    return str(client.environ_base["HTTP_AUTHORIZATION"]).split("_")[2]


def test_what_did_not_change_is_said_again(ada: FlaskClient, at: str, handled: list[str]) -> None:
    again = ada.get(at)
    assert handled == []
    asked_anew = ada.get(at + "?")  # an empty query is none
    long_way = ada.get(at, headers={"Prefer": "handling=lenient"})
    assert handled == [at]
    assert again.data == asked_anew.data == long_way.data
    ids = [answer.headers.pop("X-Request-Id") for answer in (again, asked_anew, long_way)]
    assert len(set(ids)) == 3
    assert sorted(again.headers) == sorted(long_way.headers)
    assert ada.get(at, headers={"X-Request-Id": "mine"}).headers["X-Request-Id"] == "mine"


def test_who_has_it_gets_304_each_time(ada: FlaskClient, at: str, handled: list[str]) -> None:
    etag = ada.get(at).headers["ETag"]
    answers = [ada.get(at, headers={"If-None-Match": etag}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [304] * 4
    assert len(handled) == 2
    assert ada.get(at, headers={"If-None-Match": '"0-0"'}).status_code == 200
    assert ada.get(at, headers={"If-Match": '"0-0"'}).status_code == 412


def test_what_changed_is_seen_at_once(ada: FlaskClient, at: str, parts: Services) -> None:
    first = ada.get(at).get_json()
    before = ada.post(ENVIRONMENTS, json={"priority": "5"}).get_json()["id"]
    ada.delete(at)
    now = ada.get(at).get_json()
    assert (first["state"], now["state"]) == ("queued", "deleted")
    last = f"{ENVIRONMENTS}/{ada.post(ENVIRONMENTS, json={}).get_json()['id']}"
    assert [ada.get(last).get_json()["position"] for _ in range(3)] == [2] * 3
    ada.delete(f"{ENVIRONMENTS}/{before}")  # of the other itself nothing changes but its place
    assert ada.get(last).get_json()["position"] == 1


def test_who_may_no_longer_is_refused_at_once(ada: FlaskClient, at: str, parts: Services) -> None:
    parts.accounts.set_disabled("ada", True)
    assert ada.get(at).status_code == 401
    parts.accounts.set_disabled("ada", False)
    assert [ada.get(at).status_code for _ in range(3)] == [200] * 3
    parts.accounts.revoke("ada", token_id(ada))
    assert ada.get(at).status_code == 401


def test_a_token_that_ends_takes_its_answers_along(
    at: str, client_of: Callable[..., FlaskClient], handled: list[str]
) -> None:
    brief = client_of("ada", lifetime_seconds=1.5)
    while (answer := brief.get(at)).status_code == 200:
        pass
    assert answer.status_code == 401


def test_somebody_elses_is_none_of_it(
    at: str, client_of: Callable[..., FlaskClient], handled: list[str], parts: Services
) -> None:
    assert client_of("eve").get(at).status_code == 404
    root = client_of("root", "admin")
    assert [root.get(at).status_code for _ in range(3)] == [200] * 3
    assert len(handled) == 4  # an admin's look at what is another's is audited
    assert [entry.action for entry in parts.audit.page(user="root")[0]] == ["environments.look"]


def test_the_last_use_of_a_token_is_still_noted(
    ada: FlaskClient, at: str, parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = parts.keys.api_token(token_id(ada))
    long_ago = f"{time.time() - 3600:.3f}"
    parts.ledger.redis.hset(key, "used", long_ago)
    ada.get(at)
    assert float(parts.ledger.redis.hget(key, "used") or 0) > float(long_ago)
    monkeypatch.setattr(time, "time", lambda real=time.time: real() + 3600)
    ada.get(at)
    assert float(parts.ledger.redis.hget(key, "used") or 0) > time.time() - 60


def test_no_more_answers_are_kept_than_were_meant_to_be(
    ada: FlaskClient, at: str, handled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glances, "MOST_KEPT", 1)
    other = f"{ENVIRONMENTS}/{ada.post(ENVIRONMENTS, json={}).get_json()['id']}"
    handled.clear()
    for path in (other, other, other, at):
        assert ada.get(path).status_code == 200
    assert handled == [other, other, at]
    monkeypatch.setattr(glances, "MOST_BYTES", 10)
    assert [ada.get(at).status_code for _ in range(3)] == [200] * 3
    assert handled[-3:] == [at] * 3


def test_questions_of_many_threads_are_each_answered_with_their_own(parts: Services) -> None:
    redis = parts.ledger.redis
    together = Together(redis.connection_pool)

    def ask(number: int) -> Any:
        word = f"{number}"
        if number % 10 == 0:
            return together.ask(b"*1\r\n$8\r\nNONSENSE\r\n")
        return together.ask(f"*2\r\n$4\r\nECHO\r\n${len(word)}\r\n{word}\r\n".encode())

    with ThreadPoolExecutor(20) as pool:
        said = list(pool.map(ask, range(2000)))
    assert said == [None if number % 10 == 0 else str(number) for number in range(2000)]


@pytest.mark.parametrize("protocol", [2, 3])
def test_tokens_of_many_threads_are_asked_about_together(redis_url: str, protocol: int) -> None:
    """By either version of Redis' protocol; and each is told of its own."""
    redis, keys = Redis.from_url(f"{redis_url}?protocol={protocol}", decode_responses=True), Keys("dcloud")
    accounts = Accounts(redis, keys, together=Together(redis.connection_pool).several)
    names = [f"u{number}" for number in range(20)]
    tokens = [accounts.create_token(accounts.create_user(name).name) for name in names]
    with ThreadPoolExecutor(20) as pool:
        for _ in range(5):
            callers = list(pool.map(accounts.verify, tokens))
            assert [caller.user if caller else None for caller in callers] == names
    accounts.set_disabled("u7", True)
    accounts.revoke("u8", id_of(tokens[8]))
    assert [name for name, token in zip(names, tokens, strict=True) if not accounts.verify(token)] == ["u7", "u8"]
    redis.connection_pool.disconnect()


def test_two_processes_never_say_what_was_over_before_they_were_asked(
    redis_url: str, tmp_path: Path, parts: Services, token_of: Callable[..., str]
) -> None:
    keeper, doomed = token_of("ada"), token_of("ada")
    host = OneHost(parts.ledger, cpu_milli=8000, ram_mib=8192, storage_mib=100_000)
    written, over, wrong = 0, threading.Event(), []

    def look(url: str, token: str) -> int:
        """Ask again and again; how many answers there were."""
        count = 0
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as http:
            while not over.is_set():
                least, ended = written, revoked.is_set() and token == doomed
                answer = http.get(where)
                if ended and answer.status_code != 401:
                    wrong.append((answer.status_code, "after it was revoked"))
                if answer.status_code == 200 and answer.json()["progress"] < least:
                    wrong.append((answer.json()["progress"], least))
                count += 1
        return count

    revoked = threading.Event()
    with (
        serving(redis_url, free_port(), tmp_path / "one.log", "--workers", "1") as one,
        serving(redis_url, free_port(), tmp_path / "two.log", "--workers", "1") as two,
        ThreadPoolExecutor(8) as pool,
    ):
        made = httpx.post(
            f"{one.url}{ENVIRONMENTS}", json={}, headers={"Authorization": f"Bearer {keeper}"}, trust_env=False
        ).json()
        where, job = f"{ENVIRONMENTS}/{made['id']}", host.claim()
        parts.ledger.advance(host.name, host.epoch, job, State.BUILDING, progress=5, message="")
        looking = [pool.submit(look, url, token) for url in (one.url, two.url) for token in (keeper, doomed) * 2]
        for progress in range(6, 90):
            parts.ledger.progress(host.name, host.epoch, job, Phase.LIBRARIES, progress, "")
            written = progress
            time.sleep(0.02)
        parts.accounts.revoke("ada", doomed.split("_")[2])
        revoked.set()
        time.sleep(1)
        over.set()
        counts = [future.result() for future in looking]
    assert wrong == []
    assert min(counts) > 20, json.dumps(counts)
