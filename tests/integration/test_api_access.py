"""Who may what: denied by default, somebody else's does not exist."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api import streams
from api.auth import PUBLIC
from api.services import Services

ENVIRONMENTS = "/api/v1/environments"
Clients = Callable[..., FlaskClient]


def routes(app: Flask) -> list[tuple[str, str, str]]:
    """Every (method, rule, endpoint) that there is."""
    return [
        (method, rule.rule, rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"OPTIONS"})
    ]


def filled(rule: str, env_id: str) -> str:
    return (
        rule.replace("<env_id>", env_id)
        .replace("<channel_id>", env_id + "0" * 26)
        .replace("<path:filename>", "app.css")
        .replace("<name>", "nobody")
        .replace("<token_id>", "0" * 10)
        .replace("<hook_id>", "0" * 15)
    )


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic YTpi", "bearer dc_u_x_y", "Bearer \xff"])
def test_without_a_token_every_other_route_is_401(app: Flask, header: str | None) -> None:
    client = app.test_client()
    headers = {} if header is None else {"Authorization": header}
    for method, rule, endpoint in routes(app):
        with client.open(filled(rule, "0" * 15), method=method, headers=headers) as answer:
            assert answer.data is not None
        if endpoint in PUBLIC:
            assert answer.status_code not in (401, 403) or rule in ("/sign-in", "/api/v1/login"), rule
        else:
            assert answer.status_code == 401, (method, rule)


def test_somebody_elses_is_404_everywhere(app: Flask, ada: FlaskClient, client_of: Clients) -> None:
    env_id = ada.post(ENVIRONMENTS, json={}).get_json()["id"]
    eve, weak = client_of("eve"), client_of("root", "admin", scopes=["read", "submit"])
    for client in (eve, weak):
        for method, rule, _ in routes(app):
            if "<env_id>" in rule or "<channel_id>" in rule:
                answer = client.open(filled(rule, env_id), method=method, json={"command": ["ls"]})
                assert answer.status_code == 404, (method, rule)
                if method != "HEAD":
                    said = json.loads(answer.text)["detail"]
                    nobody = client.open(filled(rule, "0" * 15), method=method, json={"command": ["ls"]})
                    assert said.replace(env_id, "0" * 15) == json.loads(nobody.text)["detail"]
    assert eve.get(ENVIRONMENTS).get_json()["environments"] == []
    assert ada.get(f"{ENVIRONMENTS}/{env_id}").get_json()["state"] == "queued"


def test_an_admin_sees_and_does_everything(ada: FlaskClient, client_of: Clients) -> None:
    env_id = ada.post(ENVIRONMENTS, json={}).get_json()["id"]
    client_of("eve").post(ENVIRONMENTS, json={})
    root = client_of("root", "admin")

    def owners(query: str) -> list[str]:
        return [e["owner"] for e in root.get(f"{ENVIRONMENTS}{query}").get_json()["environments"]]

    assert owners("") == ["eve", "ada"]
    assert owners("?owner=ada") == ["ada"]
    assert owners("?owner=nobody") == []
    assert root.delete(f"{ENVIRONMENTS}/{env_id}").status_code == 202
    assert ada.get(f"{ENVIRONMENTS}/{env_id}").get_json()["state"] == "deleted"


def test_a_revoked_token_is_refused_at_once(app: Flask, parts: Services, token_of: Callable[..., str]) -> None:
    token = token_of("ada")
    client = app.test_client()
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get(ENVIRONMENTS, headers=headers).status_code == 200
    parts.accounts.revoke("ada", token.split("_")[2])
    assert client.get(ENVIRONMENTS, headers=headers).status_code == 401


# the page


def sign_in(app: Flask, token: str, **kwargs: Any) -> FlaskClient:
    client = app.test_client()
    client.post("/sign-in", data={"token": token}, **kwargs)
    return client


def csrf_of(client: FlaskClient) -> str:
    return client.get("/").text.partition('name="csrf" content="')[2].partition('"')[0]


def test_a_stream_ends_with_the_token_that_began_it(
    app: Flask, parts: Services, token_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(streams, "PING_SECONDS", 0.05)
    monkeypatch.setattr(streams, "LIFE_SECONDS", 5.0)
    token = token_of("ada")
    headers = {"Authorization": f"Bearer {token}"}
    env_id = app.test_client().post(ENVIRONMENTS, json={}, headers=headers).get_json()["id"]
    answer = app.test_client().get(
        f"{ENVIRONMENTS}/{env_id}/events", headers={**headers, "Accept": "text/event-stream"}
    )  # fmt: skip
    came = iter(answer.response)
    assert b": ping" in [next(came) for _ in range(6)][-1]
    parts.accounts.revoke("ada", token.split("_")[2])
    began = time.monotonic()
    assert len(list(came)) <= 1
    assert time.monotonic() - began < 2


def test_signing_in_and_out(app: Flask, token_of: Callable[..., str]) -> None:
    client = app.test_client()
    assert "Sign in" in client.get("/").text
    answer = client.post("/sign-in", data={"token": f" {token_of('ada')}\n"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "dc_u_" not in cookie
    assert "Sign out" in client.get("/").text
    assert client.get(ENVIRONMENTS).status_code == 200
    assert client.post("/sign-out", data={"csrf": csrf_of(client)}).status_code == 303
    assert "Sign in" in client.get("/").text
    assert client.get(ENVIRONMENTS).status_code == 401


def test_a_session_may_no_more_than_the_token_that_began_it_and_always_end(
    app: Flask, token_of: Callable[..., str]
) -> None:
    for scopes, sees in ((["submit"], False), (["read"], True)):
        client = sign_in(app, token_of("ada", scopes=scopes))
        answer = client.get("/", headers={"Accept": "text/html"})
        assert answer.status_code == (200 if sees else 403)
        assert ("the scope" in answer.text) != sees
        assert "Sign out" in answer.text  # no dead end
        [csrf] = re.findall(r'name="csrf" value="(\w+)"', answer.text)[:1]
        assert client.post("/sign-out", data={"csrf": csrf}).status_code == 303
        assert "Sign in" in client.get("/").text


def test_a_wrong_token_is_told_on_the_page(app: Flask) -> None:
    client = app.test_client()
    for token in ("", "<script>alert(1)</script>", "dc_u_x"):
        answer = client.post("/sign-in", data={"token": token})
        assert answer.status_code == 401
        assert "mistyped" in answer.text
        assert "<script>alert" not in answer.text
        assert "Set-Cookie" not in answer.headers


def test_a_session_changes_things_only_with_its_csrf_token(app: Flask, token_of: Callable[..., str]) -> None:
    client = sign_in(app, token_of("ada"))
    other = csrf_of(sign_in(app, token_of("ada")))
    for csrf in ({}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": other}, {"X-CSRF-Token": "é"}):
        assert client.post(ENVIRONMENTS, json={}, headers=csrf).status_code == 403
    assert client.post("/sign-out").status_code == 403
    assert client.post(ENVIRONMENTS, json={}, headers={"X-CSRF-Token": csrf_of(client)}).status_code == 202


def test_a_forged_or_old_cookie_opens_nothing(app: Flask, parts: Services, token_of: Callable[..., str]) -> None:
    token = token_of("ada")
    parts.sessions.begin("ada")
    [kept] = [key.rpartition(":")[2] for key in parts.ledger.redis.keys("*:session:*")]
    for value in (token, token.split("_")[2], "x", "", kept, "\xff", "*"):
        client = app.test_client()
        client.set_cookie("dcloud_session", value)
        assert client.get(ENVIRONMENTS).status_code == 401


def test_a_session_ends_with_its_token(app: Flask, parts: Services, token_of: Callable[..., str]) -> None:
    token = token_of("ada")
    client = sign_in(app, token)
    assert client.get(ENVIRONMENTS).status_code == 200
    parts.accounts.revoke("ada", token.split("_")[2])
    assert client.get(ENVIRONMENTS).status_code == 401


def test_another_site_cannot_sign_anyone_in(app: Flask, token_of: Callable[..., str]) -> None:
    client = app.test_client()
    data = {"token": token_of("ada")}
    assert client.post("/sign-in", data=data, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post("/sign-in", data=data, headers={"Origin": "http://localhost"}).status_code == 303


def test_no_page_runs_foreign_or_inline_script(app: Flask, token_of: Callable[..., str]) -> None:
    client = sign_in(app, token_of("ada"))
    for path in ("/", "/static/live.js", ENVIRONMENTS, "/nothing"):
        with client.get(path) as answer:
            text, policy = answer.text, answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "camera=()" in answer.headers["Permissions-Policy"]
        assert "://" not in text
    page = client.get("/").text
    assert page.count("<script") == page.count('<script src="/static/')
    assert " style=" not in page
    assert " onclick=" not in page
