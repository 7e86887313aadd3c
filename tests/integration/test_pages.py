"""The pages without a browser: who is sent where, what is answered with what, and that they work without a script."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from simulated_host import SimulatedHost

from api.pages.failures import TITLES
from api.pages.together import _yes
from api.problem_types import TYPES
from api.services import Services
from common.imports.formats import MAX_LOCK_BYTES
from common.inventory import Inventory, Offer
from common.ledger import Quota
from common.states import State
from common.tokens import id_of

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
        "//[",
        "/",
    ],
)
def test_nobody_is_sent_to_another_site(app: Flask, token_of: Callable[..., str], elsewhere: str) -> None:
    client = app.test_client()
    answer = client.post("/sign-in", data={"token": token_of("ada"), "next": elsewhere})
    assert answer.headers["Location"] == "/"


@pytest.mark.parametrize("address", ["//[", "http://["])
def test_an_address_that_is_none_is_no_defect(app: Flask, address: str) -> None:
    client = app.test_client()
    assert client.get("/", query_string={"next": address}, headers=HTML).status_code == 200
    for path, header, status in (("/sign-out", "Referer", 303), ("/sign-in", "Origin", 403)):
        assert client.post(path, headers={**HTML, header: address}).status_code == status


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
        "variables": "A=1=2\r\nWORDS=two words \r\n",
    }  # fmt: skip
    submit(page, key_of(page), **wanted)
    (first,) = parts.ledger.environments("ada")[0]
    form = page.get(f"/new?key={'0' * 15}&again={first.id}").text
    fields = dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', form))
    chosen = {
        name: re.search(r'value="([^"]*)"[^>]* selected', options)[1]  # type: ignore[index]
        for name, options in re.findall(r'<select[^>]* name="(\w+)"[^>]*>(.*?)</select>', form, re.S)
    }
    texts = dict(re.findall(r'<textarea[^>]* name="(\w+)"[^>]*>([^<]*)<', form))
    texts["libraries"] = texts["libraries"].replace("&gt;", ">")
    data = {**fields, **chosen, **texts, "key": "1" * 15, "gpu": ""}
    answer = page.post("/new", data=data)
    assert answer.status_code == 303, re.findall(r'class="wrong".*?</ul>', answer.text, re.S)
    second = parts.ledger.environments("ada")[0][0]
    assert second.contract == first.contract
    assert second.contract.variables == (("A", "1=2"), ("WORDS", "two words "))


def test_variables_that_cannot_be_are_told_by_name(page: FlaskClient, ready: None) -> None:
    answer = page.post("/new", data={"csrf": csrf(page), "variables": "PATH=/\nno name\n"}, headers=HTML)
    assert answer.status_code == 422
    assert "PATH: cannot be set here" in answer.text
    assert "no name: is not a variable" in answer.text


def test_a_browser_keeps_what_its_address_names_and_asks_about_the_rest(app: Flask) -> None:
    client = app.test_client()
    (style,) = re.findall(r'href="(/static/app.css[^"]*)"', client.get("/").text)
    for path, kept in ((style, "max-age=31536000"), ("/static/morph.js", "no-cache")):
        with client.get(path) as answer:
            assert kept in answer.headers["Cache-Control"], path


@pytest.fixture
def root(app: Flask, token_of: Callable[..., str]) -> FlaskClient:
    """A browser in which an admin has signed in."""
    client = app.test_client()
    client.post("/sign-in", data={"token": token_of("root", "admin")})
    return client


def test_the_limits_of_everyone_are_set_and_taken_away(root: FlaskClient, parts: Services) -> None:
    root.post("/quota", data={"csrf": csrf(root), "cpu": "1.5", "ram": "8"})
    assert parts.ledger.quota("anybody")[0] == Quota(cpu_milli=1500, ram_mib=8192)
    assert re.search(r'name="cpu"[^>]* value="1.5"', root.get("/people").text)
    assert root.post("/quota", data={"csrf": csrf(root), "cpu": "lots"}).status_code == 422
    root.post("/quota", data={"csrf": csrf(root), "none": "1"})
    assert parts.ledger.limits("*").own is None
    assert "There are none now" in root.get("/people").text


def test_a_token_is_replaced_and_the_old_one_works_as_long_as_was_said(page: FlaskClient, parts: Services) -> None:
    for overlap, left_seconds in (("1h", 3600), ("0s", 0), ("", 86400)):
        text = parts.accounts.create_token("ada", "laptop", ["read"])
        assert f"/tokens/{id_of(text)}/rotate" in page.get("/account").text
        answer = page.post(f"/tokens/{id_of(text)}/rotate", data={"csrf": csrf(page), "overlap": overlap})
        [shown] = re.findall(r"dc_u_\w+", answer.text)
        made = parts.accounts.verify(shown)
        assert made is not None
        assert made.scopes == {"read"}
        assert (parts.accounts.verify(text) is None) == (overlap == "0s")
        old = parts.accounts.token(id_of(text))
        assert old is not None
        assert old.expires_at is not None
        assert old.expires_at - time.time() == pytest.approx(left_seconds, abs=60)
        assert f"/tokens/{id_of(text)}/rotate" not in page.get("/account").text
        assert page.post(f"/tokens/{id_of(text)}/rotate", data={"csrf": csrf(page)}).status_code == 409


def test_flower_is_asked_by_this_sites_pages_alone(app: Flask, client_of: Callable[..., FlaskClient]) -> None:
    root = client_of("root", "admin")
    for at in ("api/task/types", "api/worker/shutdown/x", "metrics", "static/../api/tasks", "task/a/b", "login"):
        assert root.get(f"/flower/{at}").status_code == 404, at
        assert root.post(f"/flower/{at}").status_code in (404, 405), at
    browser = app.test_client()
    token = root.environ_base["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    assert browser.post("/sign-in", data={"token": token}).status_code == 303
    cases = (
        ({"Sec-Fetch-Site": "same-origin"}, 503),
        ({"Origin": "http://localhost"}, 503),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({}, 403),
    )
    for headers, status in cases:
        assert browser.post("/flower/tasks/datatable", data={"draw": "1"}, headers=headers).status_code == status


def test_a_lock_may_be_as_large_on_the_page_as_in_the_import(page: FlaskClient, ready: None) -> None:
    secret = csrf(page)

    def fill(size: int) -> Any:
        lock = 'version = 1\n[[package]]\nname = "six"\nversion = "1.17.0"\nsource = { registry = "x" }\n#'
        parts = (
            f'name="csrf"\r\n\r\n{secret}\r\n--x\r\n',
            f'name="file"; filename="uv.lock"\r\n\r\n{lock.ljust(size, "x")}\r\n--x--\r\n',
        )
        body = "--x\r\n" + "".join(f"Content-Disposition: form-data; {part}" for part in parts)
        return page.post("/new/fill", data=body, content_type="multipart/form-data; boundary=x", headers=HTML)

    assert "six==1.17.0" in fill(MAX_LOCK_BYTES).text
    assert fill(2 * MAX_LOCK_BYTES).status_code == 413
    assert page.post("/new", data={"csrf": secret, "libraries": "x" * 90_000}).status_code == 413


@pytest.mark.parametrize("name", ["cat.png", ""])
def test_a_file_of_another_kind_is_told_in_the_form(page: FlaskClient, ready: None, name: str) -> None:
    data = {"csrf": csrf(page), "file": (BytesIO(b"\x89PNG"), name, "application/octet-stream")}
    answer = page.post("/new/fill", data=data, headers=HTML)
    assert answer.status_code == 415
    assert "requirements.txt" in answer.text
    assert 'id="new"' in answer.text


def test_who_tries_again_comes_to_the_form(page: FlaskClient, ready: None) -> None:
    for referrer, again in (("http://localhost/new?key=x", "/new"), ("http://localhost//evil.example", "/"), ("", "/")):
        answer = page.post("/new", data={"csrf": csrf(page), "key": "!"}, headers={**HTML, "Referer": referrer})
        assert answer.status_code == 400
        assert f'href="{again}">Try again' in answer.text


def test_every_kind_of_problem_has_its_title() -> None:
    assert {*TITLES, 401} >= TYPES.keys() - {500}


def test_whether_libraries_go_together_is_asked_of_a_host(page: FlaskClient, host: SimulatedHost) -> None:
    def said(**fields: str) -> str:
        answer = page.post("/new/libraries", data={"csrf": csrf(page), **fields}, headers=HTML)
        assert (answer.status_code, f'value="{fields.get("cpu", "1")}"' in answer.text) == (200, True)
        return answer.text.partition('id="together"')[2].partition("</div>")[0]

    yes = said(libraries="numpy\npandas", cpu="3")
    assert "Yes; 5 MiB would be fetched." in yes
    assert "pandas==1.0" in yes
    assert "Because nosuchlib was not found" in said(libraries="nosuchlib")
    assert "No library is asked for yet." in said()
    assert "Something has to be corrected first." in said(libraries="not a name!")


def test_what_is_on_a_host_already_is_told() -> None:
    found = {"present": True, "installed_bytes": 3 << 30, "download_bytes": None, "host": "one"}
    assert _yes(found) == "Yes, and they are on one already, 3 GiB of them."
    assert _yes({**found, "installed_bytes": None}) == "Yes, and they are on one already."
    assert _yes({**found, "present": False}) == "Yes."


def opened(client: FlaskClient) -> dict[str, str]:
    """The hidden fields of the form in which the template is changed."""
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', client.get("/templates/mine").text))


def test_a_template_is_changed_and_deleted_by_its_owner(
    app: Flask, page: FlaskClient, ready: None, parts: Services, token_of: Callable[..., str]
) -> None:
    page.post("/new/save", data={"csrf": csrf(page), "template": "mine", "libraries": "numpy"})
    assert "yours" in page.get("/new", follow_redirects=True).text
    before = parts.templates.get("mine")
    sent = {**opened(page), "title": "Mine <b>", "description": "for all", "public": "1"}
    assert page.post("/templates/mine", data=sent).status_code == 303
    after = parts.templates.get("mine")
    assert (after.title, after.description, after.public) == ("Mine <b>", "for all", True)
    assert after.contract == before.contract
    assert 'value="Mine &lt;b&gt;"' in page.get("/templates/mine").text
    assert "Nobody else can use it any more" in page.get("/templates/mine/delete").text

    eve = app.test_client()
    eve.post("/sign-in", data={"token": token_of("eve")})
    shown = eve.get("/new", follow_redirects=True).text
    assert "Mine &lt;b&gt;" in shown
    assert "/templates/mine" not in shown
    for path in ("/templates/mine", "/templates/mine/delete"):
        assert eve.get(path).status_code == 403
        assert eve.post(path, data={"csrf": csrf(eve), "title": "eve's"}).status_code == 403
    assert parts.templates.get("mine") == after
    first, second = opened(page), opened(page)
    assert page.post("/templates/mine", data={**first, "title": "First"}).status_code == 303
    refused = page.post("/templates/mine", data={**second, "title": "Second"})
    assert (refused.status_code, parts.templates.get("mine").title) == (412, "First")
    assert "It was changed since you opened it" in refused.text
    assert all(said in refused.text for said in ("“<bdi>First</bdi>”", 'name="title" value="Second"'))
    assert page.post("/templates/mine", data={"csrf": csrf(page), "title": "x"}).status_code == 412
    assert page.post("/templates/mine", data={**opened(page), "title": "Second"}).status_code == 303
    page.post("/templates/mine/delete", data={"csrf": csrf(page)})
    assert page.get("/templates/mine").status_code == 404


def test_what_is_over_a_quota_by_itself_is_told_where_it_is_asked_for_and_where_it_waits(
    page: FlaskClient, ada: FlaskClient, parts: Services, ready: None
) -> None:
    parts.ledger.set_quota("ada", Quota(cpu_milli=500))
    sent = {"csrf": csrf(page), "key": key_of(page), "cpu": "2"}
    shown = page.post("/new/check", data=sent, headers=HTML).text
    assert "Never: by itself it is over its owner&#39;s quota of CPU." in shown
    assert "With 0.5 cores it would start now." in shown
    waiting = ada.post("/api/v1/environments", json={"resources": {"cpu": "2"}, "wait": True}).get_json()["id"]
    told = page.get(f"/environments/{waiting}").text
    assert "By itself it is over its owner’s quota of CPU. Within it could be had 0.5 cores" in told
