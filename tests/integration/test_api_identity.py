"""Accounts, tokens and signing in, over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.services import Services
from common.attempts import MOST
from common.tokens import TOKEN

USERS, TOKENS = "/api/v1/users", "/api/v1/tokens"
PASSWORD = "correct horse battery"
Clients = Callable[..., FlaskClient]


@pytest.fixture
def root(client_of: Clients) -> FlaskClient:
    """An admin."""
    return client_of("root", "admin")


def ok(answer: TestResponse, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.get_json() if answer.data else None


def problem(answer: TestResponse, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    found: dict[str, Any] = json.loads(answer.text)
    return found


def bearer(app: Flask, token: str) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def signed_in(app: Flask, **form: str) -> FlaskClient:
    client = app.test_client()
    assert client.post("/sign-in", data=form).status_code == 303
    return client


# accounts


def test_an_admin_makes_and_changes_accounts(root: FlaskClient) -> None:
    answer = root.post(USERS, json={"name": "ada", "password": PASSWORD})
    made = ok(answer, 201)
    assert answer.headers["Location"] == f"{USERS}/ada"
    assert (made["name"], made["role"], made["disabled"], made["has_password"]) == ("ada", "user", False, True)
    assert PASSWORD not in answer.text
    assert ok(root.get(f"{USERS}/ada")) == made
    assert ok(root.patch(f"{USERS}/ada", json={"role": "admin"}))["role"] == "admin"
    assert ok(root.patch(f"{USERS}/ada", json={"disabled": True})) == {**made, "role": "admin", "disabled": True}
    problem(root.post(USERS, json={"name": "ada"}), 409)
    problem(root.patch(f"{USERS}/nobody", json={}), 404)


def test_accounts_come_in_pages(root: FlaskClient, parts: Services) -> None:
    for number in range(7):
        parts.accounts.create_user(f"u{number}")
    names, cursor = [], ""
    while cursor is not None:
        page = ok(root.get(f"{USERS}?limit=3&cursor={cursor}"))
        assert len(page["users"]) <= 3
        names += [user["name"] for user in page["users"]]
        cursor = page["next"]
    assert names == ["root", *(f"u{number}" for number in range(7))]
    problem(root.get(f"{USERS}?cursor=x"), 400)
    problem(root.get(f"{USERS}?limit=101"), 400)


def test_a_user_sees_themself_and_nobody_else(ada: FlaskClient, root: FlaskClient) -> None:
    assert ok(ada.get(f"{USERS}/me")) == ok(ada.get(f"{USERS}/ada")) == ok(root.get(f"{USERS}/ada"))
    assert (
        problem(ada.get(f"{USERS}/root"), 404)["detail"].replace("root", "x")
        == (problem(ada.get(f"{USERS}/x"), 404)["detail"])
    )
    problem(ada.put(f"{USERS}/root/password", json={"password": PASSWORD}), 404)
    for answer in (ada.get(USERS), ada.post(USERS, json={}), ada.patch(f"{USERS}/ada", json={"role": "admin"})):
        problem(answer, 403)


def test_nobody_takes_their_own_rights_away(root: FlaskClient, parts: Services) -> None:
    for change in ({"role": "user"}, {"disabled": True}):
        assert "Another admin" in problem(root.patch(f"{USERS}/root", json=change), 409)["detail"]
    assert parts.accounts.user("root").role == "admin"


def test_a_change_does_not_overwrite_what_it_has_not_seen(root: FlaskClient, ada: FlaskClient) -> None:
    seen = root.get(f"{USERS}/ada").headers["ETag"]
    assert root.get(f"{USERS}/ada", headers={"If-None-Match": seen}).status_code == 304
    ok(root.patch(f"{USERS}/ada", json={"role": "admin"}, headers={"If-Match": seen}))
    problem(root.patch(f"{USERS}/ada", json={"disabled": True}, headers={"If-Match": seen}), 412)
    assert ok(root.get(f"{USERS}/ada"))["disabled"] is False


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "name"),
        ({"name": "A"}, "name"),
        ({"name": 1}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a", "role": "root"}, "role"),
        ({"name": "a", "role": None}, "role"),
        ({"name": "a", "password": "short"}, "password"),
        ({"name": "a", "passwort": PASSWORD}, "passwort"),
    ],
    ids=str,
)
def test_an_account_that_makes_no_sense_is_refused(
    root: FlaskClient, parts: Services, body: dict[str, Any], path: str
) -> None:
    found = problem(root.post(USERS, json=body), 422)
    assert [error["path"] for error in found["errors"]] == [path]
    assert "short" not in json.dumps(found)
    assert [user.name for user in parts.accounts.users()] == ["root"]


# passwords and sessions


def test_signing_in_with_a_password(app: Flask, root: FlaskClient) -> None:
    ok(root.post(USERS, json={"name": "ada", "password": PASSWORD}), 201)
    client = signed_in(app, name=" Ada ", password=PASSWORD)
    assert ok(client.get(f"{USERS}/me"))["name"] == "ada"
    problem(client.get(USERS), 403)
    for form in ({"name": "ada", "password": "x"}, {"name": "nobody", "password": PASSWORD}, {"name": "ada"}):
        answer = app.test_client().post("/sign-in", data=form)
        assert answer.status_code == 401
        assert "name or the password is wrong" in answer.text
        assert "Set-Cookie" not in answer.headers


def test_one_sets_ones_own_password_with_the_present_one(app: Flask, ada: FlaskClient) -> None:
    mine = f"{USERS}/me/password"
    ok(ada.put(mine, json={"password": PASSWORD}), 204)  # there was none
    problem(ada.put(mine, json={"password": "another horse battery"}), 403)
    problem(ada.put(mine, json={"password": "another horse battery", "current": "wrong"}), 403)
    problem(ada.put(mine, json={"password": "short", "current": PASSWORD}), 422)
    here, elsewhere = (signed_in(app, name="ada", password=PASSWORD) for _ in range(2))
    csrf = here.get("/").text.partition('name="csrf" content="')[2].partition('"')[0]
    body = {"password": "another horse battery", "current": PASSWORD}
    ok(here.put(mine, json=body, headers={"X-CSRF-Token": csrf}), 204)
    assert ok(here.get(f"{USERS}/me"))["name"] == "ada"
    problem(elsewhere.get(f"{USERS}/me"), 401)
    signed_in(app, name="ada", password="another horse battery")


def test_the_present_password_cannot_be_guessed(
    ada: FlaskClient, client_of: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MOST, "both", 3)
    monkeypatch.setitem(MOST, "address", 3)
    eve = client_of("eve")
    for client in (ada, eve):
        ok(client.put(f"{USERS}/me/password", json={"password": PASSWORD}), 204)
    guess = {"password": "another horse battery", "current": "wrong"}
    assert [ada.put(f"{USERS}/me/password", json=guess).status_code for _ in range(4)] == [403, 403, 403, 429]
    right = {"password": "another horse battery", "current": PASSWORD}
    ok(eve.put(f"{USERS}/me/password", json=right), 204)  # nobody holds up another's change


def test_an_admin_sets_anybodys_password(app: Flask, root: FlaskClient, ada: FlaskClient) -> None:
    for password in (PASSWORD, "another horse battery"):
        ok(root.put(f"{USERS}/ada/password", json={"password": password}), 204)
    signed_in(app, name="ada", password="another horse battery")


def test_a_weak_token_does_not_make_itself_a_password(client_of: Clients) -> None:
    for role, scopes in (("user", ["submit"]), ("admin", ["read", "submit"])):
        client = client_of(f"weak-{role}", role, scopes=scopes)
        assert (
            "lacks the scope" in problem(client.put(f"{USERS}/me/password", json={"password": PASSWORD}), 403)["detail"]
        )


def test_signing_out_ends_the_session_itself(app: Flask, token_of: Callable[..., str]) -> None:
    client = signed_in(app, token=token_of("ada"))
    cookie = client.get_cookie("dcloud_session")
    assert cookie is not None
    csrf = client.get("/").text.partition('name="csrf" content="')[2].partition('"')[0]
    client.post("/sign-out", data={"csrf": csrf})
    client.set_cookie("dcloud_session", cookie.value)  # a copy of it
    problem(client.get(f"{USERS}/me"), 401)


def test_guessing_passwords_soon_ends(app: Flask, root: FlaskClient) -> None:
    ok(root.post(USERS, json={"name": "ada", "password": PASSWORD}), 201)
    guesser = app.test_client()
    for _ in range(MOST["both"]):
        assert guesser.post("/sign-in", data={"name": "ada", "password": "guess"}).status_code == 401
    answer = guesser.post("/sign-in", data={"name": "ada", "password": PASSWORD})
    assert "Too many attempts" in answer.text
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 900
    assert "Set-Cookie" not in answer.headers
    elsewhere = app.test_client()
    elsewhere.environ_base["REMOTE_ADDR"] = "10.0.0.9"
    assert elsewhere.post("/sign-in", data={"name": "ada", "password": PASSWORD}).status_code == 303


# tokens


def test_a_token_is_shown_once(app: Flask, ada: FlaskClient) -> None:
    body = {"name": "laptop", "scopes": ["read"], "lifetime": "90d", "kind": "service"}
    answer = ada.post(TOKENS, json=body)
    made = ok(answer, 201)
    text = made.pop("token")
    assert TOKEN.fullmatch(text)
    assert text.startswith(f"dc_s_{made['id']}_")
    assert answer.headers["Location"] == f"{TOKENS}/{made['id']}" == made["links"]["self"]
    assert (made["name"], made["scopes"], made["last_used_at"]) == ("laptop", ["read"], None)
    listed = ada.get(TOKENS)
    assert ok(listed)["tokens"][-1] == made == ok(ada.get(f"{TOKENS}/{made['id']}"))
    assert text.split("_")[3][:32] not in listed.text

    theirs = bearer(app, text)
    assert ok(theirs.get(f"{USERS}/me"))["name"] == "ada"
    problem(theirs.post(TOKENS, json={}), 403)
    assert ok(ada.get(f"{TOKENS}/{made['id']}"))["last_used_at"]
    ok(ada.delete(f"{TOKENS}/{made['id']}"), 204)
    problem(theirs.get(f"{USERS}/me"), 401)
    problem(ada.delete(f"{TOKENS}/{made['id']}"), 404)


def test_a_token_gives_no_more_than_its_maker_has(app: Flask, client_of: Clients, token_of: Callable[..., str]) -> None:
    weak = client_of("root", "admin", scopes=["read", "submit"])
    strong = ok(client_of("root", "admin").get(TOKENS))["tokens"][1]
    assert "admin" in problem(weak.post(TOKENS, json={"scopes": ["read", "admin"]}), 403)["detail"]
    problem(weak.post(f"{TOKENS}/{strong['id']}/rotate"), 403)
    problem(weak.post(TOKENS, json={"user": "ada"}), 403)

    short = bearer(app, token_of("ada", lifetime_seconds=600))
    for lifetime in ("", "90d"):
        made = ok(short.post(TOKENS, json={"lifetime": lifetime}), 201)
        assert made["expires_at"] < "2100"
        left = ok(short.get(TOKENS))["tokens"]
        assert {token["expires_at"][:15] for token in left} == {left[0]["expires_at"][:15]}


def test_a_token_that_ends_rotates_no_other_to_outlive_it(
    app: Flask, ada: FlaskClient, token_of: Callable[..., str]
) -> None:
    endless = ok(ada.post(TOKENS, json={"name": "endless"}), 201)
    brief = ok(ada.post(TOKENS, json={"name": "brief", "lifetime": "1h"}), 201)
    short = bearer(app, token_of("ada", lifetime_seconds=7200))
    assert "outlive" in problem(short.post(f"{TOKENS}/{endless['id']}/rotate"), 403)["detail"]
    assert ok(ada.get(f"{TOKENS}/{endless['id']}"))["replaced_by"] is None
    ok(short.post(f"{TOKENS}/{brief['id']}/rotate"), 201)
    itself = bearer(app, brief["token"])
    problem(itself.post(f"{TOKENS}/{endless['id']}/rotate"), 403)


def test_rotating_overlaps(app: Flask, ada: FlaskClient) -> None:
    old = ok(ada.post(TOKENS, json={"name": "ci", "lifetime": "30d"}), 201)
    new = ok(ada.post(f"{TOKENS}/{old['id']}/rotate", json={"overlap": "1h"}), 201)
    assert (new["name"], new["scopes"]) == ("ci", old["scopes"])
    for text in (old["token"], new["token"]):
        assert bearer(app, text).get(f"{USERS}/me").status_code == 200
    before = ok(ada.get(f"{TOKENS}/{old['id']}"))
    assert before["replaced_by"] == new["id"]
    assert before["expires_at"] < old["expires_at"]
    problem(ada.post(f"{TOKENS}/{old['id']}/rotate"), 409)
    newest = ok(ada.post(f"{TOKENS}/{new['id']}/rotate", json={"overlap": "0s"}), 201)
    time.sleep(0.01)
    problem(bearer(app, new["token"]).get(f"{USERS}/me"), 401)
    assert bearer(app, newest["token"]).get(f"{USERS}/me").status_code == 200


def test_an_admin_keeps_the_tokens_of_others(
    app: Flask, root: FlaskClient, ada: FlaskClient, client_of: Clients
) -> None:
    made = ok(root.post(TOKENS, json={"user": "ada", "name": "first"}), 201)
    assert made["user"] == "ada"
    assert made["id"] in [token["id"] for token in ok(root.get(f"{TOKENS}?user=ada"))["tokens"]]
    eve = client_of("eve")
    for answer in (eve.get(f"{TOKENS}/{made['id']}"), eve.delete(f"{TOKENS}/{made['id']}")):
        problem(answer, 404)
    problem(eve.post(f"{TOKENS}/{made['id']}/rotate"), 404)
    problem(eve.get(f"{TOKENS}?user=ada"), 403)
    problem(root.get(f"{TOKENS}?user=nobody"), 404)
    problem(root.post(TOKENS, json={"user": "nobody"}), 404)
    ok(root.delete(f"{TOKENS}/{made['id']}"), 204)
    problem(bearer(app, made["token"]).get(f"{USERS}/me"), 401)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["all"]}, "scopes"),
        ({"scopes": "read"}, "scopes"),
        ({"kind": "x"}, "kind"),
        ({"lifetime": "0s"}, "lifetime"),
        ({"lifetime": "6000d"}, "lifetime"),
        ({"lifetime": "soon"}, "lifetime"),
        ({"lifetime": 5}, "lifetime"),
        ({"name": "x" * 81}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"scope": ["read"]}, "scope"),
    ],
    ids=str,
)
def test_a_token_that_makes_no_sense_is_refused(ada: FlaskClient, body: dict[str, Any], path: str) -> None:
    assert [error["path"] for error in problem(ada.post(TOKENS, json=body), 422)["errors"]] == [path]
    assert len(ok(ada.get(TOKENS))["tokens"]) == 1
