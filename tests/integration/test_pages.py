"""The pages without a browser: who is sent where, what is answered with what, and that they work without a script."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.services import Services
from common.inventory import Inventory, Offer
from common.states import State

HTML = {"Accept": "text/html"}


@pytest.fixture
def page(app: Flask, token_of: Callable[..., str]) -> FlaskClient:
    """A browser in which ada has signed in."""
    client = app.test_client()
    client.post("/sign-in", data={"token": token_of("ada")})
    return client


@pytest.fixture
def ready(parts: Services) -> None:
    offer = Offer("debian", "12", "python", ("3.11",), "Debian 12 (bookworm)")
    parts.ledger.register("one", "i", 40, Inventory(4000, 8000, 50_000, machine="m", offers=(offer,)))


def csrf(client: FlaskClient) -> str:
    found = re.search(r'name="csrf" content="([^"]+)"', client.get("/").text)
    assert found
    return found[1]


def key_of(client: FlaskClient) -> str:
    return client.get("/new").headers["Location"].partition("key=")[2]


def submit(client: FlaskClient, key: str, **fields: str) -> Any:
    return client.post("/new", data={"csrf": csrf(client), "key": key, **fields}, headers=HTML)


def test_who_has_not_signed_in_is_sent_to_the_way_in_and_back(app: Flask, token_of: Callable[..., str]) -> None:
    client = app.test_client()
    answer = client.get("/hosts?x=1", headers=HTML)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/?next=/hosts?x%3D1")
    assert 'value="/hosts?x=1"' in client.get("/?next=/hosts?x%3D1").text
    answer = client.post("/sign-in", data={"token": token_of("ada"), "next": "/hosts?x=1"})
    assert answer.headers["Location"] == "/hosts?x=1"
    assert client.get("/?next=/hosts").headers["Location"] == "/hosts"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "evil",
        "/\n/evil.example",
        "/",
    ],
)
def test_nobody_is_sent_to_another_site(app: Flask, token_of: Callable[..., str], elsewhere: str) -> None:
    client = app.test_client()
    answer = client.post("/sign-in", data={"token": token_of("ada"), "next": elsewhere})
    assert answer.headers["Location"] == "/"


def test_programs_get_problems_and_people_pages(app: Flask, page: FlaskClient) -> None:
    assert app.test_client().get("/hosts").status_code == 401
    for path in ("/nothing", "/environments/000000000000000"):
        answer = page.get(path, headers=HTML)
        assert (answer.status_code, answer.mimetype) == (404, "text/html")
        assert "Nothing is here" in answer.text
        assert page.get(path).mimetype == "application/problem+json"
    assert page.get("/api/v1/nothing", headers=HTML).mimetype == "application/problem+json"


def test_a_page_that_did_not_change_is_not_sent_again(page: FlaskClient, ready: None) -> None:
    tag = page.get("/").headers["ETag"]
    assert page.get("/", headers={"If-None-Match": tag}).status_code == 304
    submit(page, key_of(page), name="lab")
    assert page.get("/", headers={"If-None-Match": tag}).status_code == 200


def test_the_form_works_without_a_script(page: FlaskClient, ready: None, parts: Services) -> None:
    fields = {
        "name": "lab",
        "system": "debian 12",
        "python": "3.11",
        "libraries": "numpy\n# no\n",
        "cpu": "2",
        "ram": "1",
    }
    said = page.post("/new/check", data={"csrf": csrf(page), **fields})
    assert "Starts now on one." in said.text
    answer = submit(page, key_of(page), **fields)
    (made,) = parts.ledger.environments("ada")[0]
    assert answer.headers["Location"] == f"/environments/{made.id}"
    assert (made.contract.libraries, made.contract.resources.ram_mib) == (("numpy",), 1024)


def test_the_same_key_makes_one_and_another_form_another(page: FlaskClient, ready: None, parts: Services) -> None:
    key = key_of(page)
    first = submit(page, key, name="lab").headers["Location"]
    assert submit(page, key, name="lab").headers["Location"] == first
    again = submit(page, key, name="other")
    assert (again.status_code, "sent once already" in again.text) == (422, True)
    assert submit(page, key_of(page), name="lab").headers["Location"] != first
    assert len(parts.ledger.environments("ada")[0]) == 2


def test_without_the_sessions_secret_nothing_is_changed(page: FlaskClient, ready: None, parts: Services) -> None:
    made = submit(page, key_of(page), name="lab").headers["Location"]
    for path in (f"{made}/delete", "/new", "/new/save", "/tokens", "/people/ada/password"):
        answer = page.post(path, data={"csrf": "0" * 64}, headers=HTML)
        assert answer.status_code == 403, path
    assert parts.ledger.environments("ada")[0][0].state is State.QUEUED


def test_what_is_made_again_is_the_same(page: FlaskClient, ready: None, parts: Services) -> None:
    wanted = {
        "name": "lab", "cpu": "0.25", "ram": "1.8632", "storage": "0.3", "libraries": "torch\nnumpy>=2",
        "framework": "torch", "lifetime": "90m", "priority": "3", "packages": "git", "wait": "1",
    }  # fmt: skip
    submit(page, key_of(page), **wanted)
    (first,) = parts.ledger.environments("ada")[0]
    form = page.get(f"/new?key={'0' * 15}&again={first.id}").text
    fields = dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', form))
    chosen = {
        name: re.search(r'value="([^"]*)"[^>]* selected', options)[1]  # type: ignore[index]
        for name, options in re.findall(r'<select[^>]* name="(\w+)"[^>]*>(.*?)</select>', form, re.S)
    }
    libraries = re.search(r'<textarea[^>]* name="libraries"[^>]*>([^<]*)<', form)
    assert libraries
    data = {**fields, **chosen, "libraries": libraries[1].replace("&gt;", ">"), "key": "1" * 15, "gpu": ""}
    answer = page.post("/new", data=data)
    assert answer.status_code == 303, re.findall(r'class="wrong".*?</ul>', answer.text, re.S)
    second = parts.ledger.environments("ada")[0][0]
    assert second.contract == first.contract


def test_a_browser_keeps_what_its_address_names_and_asks_about_the_rest(app: Flask) -> None:
    client = app.test_client()
    (style,) = re.findall(r'href="(/static/app.css[^"]*)"', client.get("/").text)
    for path, kept in ((style, "max-age=31536000"), ("/static/morph.js", "no-cache")):
        with client.get(path) as answer:
            assert kept in answer.headers["Cache-Control"], path
