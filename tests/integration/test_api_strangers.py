"""What somebody expects of the API who knows HTTP and has read nothing of ours."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from simulated_host import SimulatedHost
from test_api import ENVIRONMENTS, problem, submitted, until

from api.services import Services
from common.inventory import Inventory
from common.states import Phase, State

V1 = "/api/v1"
HTML = {"Accept": "text/html"}


@pytest.fixture
def root(client_of: Callable[..., FlaskClient]) -> FlaskClient:
    return client_of("root", "admin")


def test_the_beginning_says_where_everything_is(app: Flask, root: FlaskClient) -> None:
    links = app.test_client().get(V1).get_json()["links"]
    assert {*links} >= {"environments", "hosts", "templates", "tokens", "catalog", "openapi", "docs"}
    for address in links.values():
        assert root.get(address).status_code == 200, address


@pytest.mark.parametrize("path", [V1, ENVIRONMENTS, f"{V1}/users/me", f"{V1}/hosts", f"{V1}/catalog"])
def test_a_slash_at_the_end_changes_nothing(ada: FlaskClient, path: str) -> None:
    assert ada.get(f"{path}/").get_json() == ada.get(path).get_json()


@pytest.mark.parametrize("path", [V1, ENVIRONMENTS, f"{V1}/users/me", f"{V1}/hosts", f"{V1}/catalog"])
def test_head_is_get_without_the_body(ada: FlaskClient, path: str) -> None:
    ada.get(path)
    got, head = ada.get(path), ada.head(path)
    assert (head.status_code, head.data) == (200, b"")
    for name in ("Content-Type", "Content-Length", "ETag"):
        assert head.headers[name] == got.headers[name], name
    assert ada.head(path, headers={"If-None-Match": got.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize(
    ("query", "hint"),
    [("staet=running", "'state'"), ("sort=name", "limit"), ("state=foo", "'foo'"), ("state=running,foo", "'foo'")],
)
def test_a_mistyped_question_is_no_other_question(ada: FlaskClient, query: str, hint: str) -> None:
    assert hint in problem(ada.get(f"{ENVIRONMENTS}?{query}"), 400)["detail"]


def test_a_packed_body_is_not_taken_for_a_document(ada: FlaskClient) -> None:
    packed = gzip.compress(b'{"env-name": "x"}')
    for at, body, coding in ((ENVIRONMENTS, packed, "gzip"), (f"{V1}/tokens", b"{}", "br")):
        answer = ada.post(at, data=body, content_type="application/json", headers={"Content-Encoding": coding})
        problem(answer, 415)
        assert answer.headers["Accept-Encoding"] == "identity"
    plain = {"Content-Encoding": "identity", "Content-Type": "application/json"}
    assert ada.post(ENVIRONMENTS, data=b"{}", headers=plain).status_code == 202


def test_who_has_no_token_is_told_how_to_show_one(app: Flask) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}):
        answer = app.test_client().get(ENVIRONMENTS, headers=headers)
        problem(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path", "header"),
    [("POST", "/users", "Accept-Post"), ("PATCH", "/users/root", "Accept-Patch"), ("PUT", "/quota", "Accept")],
)
def test_who_sends_another_type_is_told_which_are_read(root: FlaskClient, method: str, path: str, header: str) -> None:
    for kind in ("application/xml", "application/yaml", "application/x-www-form-urlencoded"):
        answer = root.open(f"{V1}{path}", method=method, data=b"{}", content_type=kind)
        problem(answer, 415)
        assert answer.headers[header] == "application/json"
    answer = root.post(ENVIRONMENTS, data=b"<x/>", content_type="text/xml")
    assert "application/toml" in answer.headers["Accept-Post"]


def test_a_history_comes_in_pages(ada: FlaskClient, parts: Services) -> None:
    ledger = parts.ledger
    ledger.load()
    epoch = ledger.register("sim", "i", 60, Inventory(machine="m", cpu_milli=8000, ram_mib=8000, storage_mib=64_000))
    at = f"{ENVIRONMENTS}/{submitted(ada)['id']}/events"
    job = ledger.claim("sim", epoch)
    assert job is not None
    ledger.advance("sim", epoch, job, State.BUILDING, progress=1, message="")
    for number in range(200):
        ledger.progress("sim", epoch, job, Phase.LIBRARIES, number // 4, f"step {number}")
    found, pages = [], 0
    page = ada.get(at).get_json()
    while True:
        found, pages = found + page["events"], pages + 1
        if page["next"] is None:
            break
        page = ada.get(f"{at}?cursor={page['next']}").get_json()
    assert (len(found), pages) == (203, 3)
    assert [event["id"] for event in found] == [event.id for event in ledger.events(job.id)]
    problem(ada.get(f"{at}?limit=101"), 400)
    problem(ada.get(f"{at}?cursor=x"), 400)
    last = ada.get(f"{at}?limit=3&after={found[-3]['id']}").get_json()
    assert (last["events"], last["next"]) == (found[-2:], None)


def test_short_lists_come_in_pages_too(ada: FlaskClient) -> None:
    for name in ("a", "b", "c"):
        ada.post(f"{V1}/tokens", json={"name": name})
        ada.post(f"{V1}/webhooks", json={"url": f"https://example.org/{name}"})
    for path, count in (("tokens", 4), ("webhooks", 3)):
        whole = ada.get(f"{V1}/{path}").get_json()
        assert (len(whole[path]), whole["next"]) == (count, None)
        first = ada.get(f"{V1}/{path}?limit=2").get_json()
        rest = ada.get(f"{V1}/{path}?cursor={first['next']}").get_json()
        assert ([one["id"] for one in first[path] + rest[path]], rest["next"]) == ([o["id"] for o in whole[path]], None)


def test_a_form_has_a_key_of_ours(ada: FlaskClient, parts: Services, host: SimulatedHost) -> None:
    until(ada, submitted(ada)["id"], "running")
    for key in ("x" * 300, "x" * 15 + "\n", "é"):
        for path in ("/new", "/new/check"):
            assert ada.post(path, data={"key": key, "name": "lab"}, headers=HTML).status_code == 400
    assert len(parts.ledger.environments("ada")[0]) == 1
