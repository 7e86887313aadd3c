"""Signing in at an OpenID provider that really serves, by browser and by device code."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from openid import CLIENT_ID, CLIENT_SECRET, OpenIdProvider, rsa_key, secret_key
from werkzeug.test import TestResponse

import api
from api.services import Services
from common.errors import SettingsError
from common.settings import Settings

ME, DEVICE = "/api/v1/users/me", "/api/v1/login/device"


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with OpenIdProvider().serving() as found:
        yield found


@pytest.fixture
def app(settings: Settings, provider: OpenIdProvider) -> Iterator[Flask]:
    application = api.create_app(
        replace(
            settings,
            api_url="http://localhost",
            oidc_issuer=provider.issuer,
            oidc_client_id=CLIENT_ID,
            oidc_client_secret=CLIENT_SECRET,
            oidc_admin_groups="ops, root",
            oidc_user_groups="lab",
        )
    )
    yield application
    application.extensions["dcloud"].ledger.redis.connection_pool.disconnect()


@pytest.fixture(autouse=True)
def in_the_lab(provider: OpenIdProvider) -> None:
    provider.person["groups"] = ["lab"]


def sent(client: FlaskClient, following: str = "") -> str:
    """The address to which the provider sends a browser back."""
    answer = client.get("/sign-in/provider", query_string={"next": following})
    assert answer.status_code == 303
    with httpx.Client(trust_env=False) as browser:
        return browser.get(answer.headers["Location"]).headers["Location"]


def signed_in(app: Flask, following: str = "") -> tuple[FlaskClient, TestResponse]:
    client = app.test_client()
    return client, client.get(sent(client, following))


def problem(answer: TestResponse, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(json.loads(answer.text)["detail"])


def test_a_person_comes_in_by_the_provider(app: Flask, parts: Services) -> None:
    client, answer = signed_in(app, "/hosts?x=1")
    assert answer.status_code == 200
    assert 'content="0; url=/hosts?x=1"' in answer.text
    cookies = answer.headers.getlist("Set-Cookie")
    assert any("dcloud_session=" in cookie and "SameSite=Strict" in cookie for cookie in cookies)
    me = client.get(ME).get_json()
    assert (me["name"], me["role"], me["has_password"]) == ("ada", "user", False)
    entry = parts.audit.page()[0][0]
    assert (entry.action, entry.user, entry.details["by"]) == ("pages.back", "ada", "provider")
    assert "Sign in with your organisation" in app.test_client().get("/").text
    signed_in(app)
    assert [user.name for user in parts.accounts.users()] == ["ada"]


def test_what_is_sent_to_the_provider(app: Flask) -> None:
    query = parse_qs(urlsplit(app.test_client().get("/sign-in/provider").headers["Location"]).query)
    assert query["redirect_uri"] == ["http://localhost/sign-in/provider/back"]
    assert query["code_challenge_method"] == ["S256"]
    assert {"state", "nonce", "code_challenge", "client_id"} <= set(query)
    assert CLIENT_SECRET not in str(query)


def test_groups_make_the_role_each_time(app: Flask, provider: OpenIdProvider) -> None:
    roles = []
    for groups in (["lab"], ["lab", "ops"], "root", ["lab"]):
        provider.person["groups"] = groups
        client, _ = signed_in(app)
        roles.append(client.get(ME).get_json()["role"])
    assert roles == ["user", "admin", "admin", "user"]
    for groups in ([], ["others"], None, 7):
        provider.person["groups"] = groups
        _, answer = signed_in(app)
        assert "None of your groups" in problem(answer, 403)
        assert "dcloud_session=" not in str(answer.headers)


def test_an_account_is_bound_to_the_subject_and_not_to_the_name(
    app: Flask, provider: OpenIdProvider, parts: Services
) -> None:
    signed_in(app)
    provider.person["preferred_username"] = "augusta"  # the same person
    client, _ = signed_in(app)
    assert client.get(ME).get_json()["name"] == "ada"
    provider.person |= {"sub": "2", "preferred_username": "ada"}  # somebody else of that name
    assert "not this person's" in problem(signed_in(app)[1], 409)
    parts.accounts.create_user("root", "admin")
    provider.person |= {"sub": "3", "preferred_username": "root"}
    assert "not this person's" in problem(signed_in(app)[1], 409)


@pytest.mark.parametrize(
    ("given", "name"), [("Ada.Lovelace@lab.example", "ada.lovelace"), ("Ada Lovelace", "ada-lovelace"), ("-x", "x")]
)
def test_a_name_is_made_fit(app: Flask, provider: OpenIdProvider, given: str, name: str) -> None:
    provider.person["preferred_username"] = given
    assert signed_in(app)[0].get(ME).get_json()["name"] == name


def test_a_disabled_person_stays_out(app: Flask, parts: Services) -> None:
    client, _ = signed_in(app)
    parts.accounts.set_disabled("ada", True)
    assert client.get(ME).status_code == 401
    assert "disabled" in problem(signed_in(app)[1], 409)


def lies() -> dict[str, dict[str, Any]]:
    """What a provider that is not ours, or not right in its head, could sign."""
    return {
        "nonce": {"claims": {"nonce": "x"}},
        "audience": {"claims": {"aud": "another"}},
        "audiences": {"claims": {"aud": ["another", "third"]}},
        "audience, for our party": {"claims": {"aud": "another", "azp": CLIENT_ID}},
        "party": {"claims": {"azp": "another"}},
        "issuer": {"claims": {"iss": "https://id.example"}},
        "expired": {"claims": {"exp": int(time.time()) - 600}},
        "no end": {"claims": {"exp": None}},
        "not yet": {"claims": {"nbf": int(time.time()) + 600}},
        "unsigned": {"algorithm": "none"},
        "by our secret": {"algorithm": "HS256", "key": secret_key(CLIENT_SECRET)},
        "by a key of nobody": {"published": [rsa_key("first", 1)]},
    }


@pytest.mark.parametrize("lie", list(lies()))
def test_what_does_not_hold_is_not_believed(app: Flask, provider: OpenIdProvider, parts: Services, lie: str) -> None:
    for name, value in lies()[lie].items():
        setattr(provider, name, value)
    _, answer = signed_in(app)
    assert "does not hold" in problem(answer, 403)
    assert "dcloud_session=" not in str(answer.headers)
    assert parts.accounts.users() == []


def test_keys_that_were_changed_are_fetched_again(app: Flask, provider: OpenIdProvider) -> None:
    signed_in(app)
    provider.change_keys()
    assert signed_in(app)[1].status_code == 200


def test_the_way_back_is_for_one_browser_and_one_time(app: Flask) -> None:
    mine, other = app.test_client(), app.test_client()
    address = sent(mine)
    assert "another browser" in problem(other.get(address), 400)  # an attacker's own sign-in, given to somebody else
    assert "too long" in problem(mine.get(address), 400)  # and that one is over
    client = app.test_client()
    address = sent(client)
    assert client.get(address).status_code == 200
    problem(client.get(address), 400)
    problem(app.test_client().get("/sign-in/provider/back?code=x&state=y"), 400)
    client = app.test_client()
    refused = sent(client).replace("code=", "error=")
    assert "did not let you in" in problem(client.get(refused), 403)
    client = app.test_client()
    wrong = sent(client).replace("code=", "code=x")
    assert "invalid_grant" in problem(client.get(wrong), 403)


@pytest.mark.parametrize("address", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x"])
def test_nobody_is_sent_to_another_site(app: Flask, address: str) -> None:
    _, answer = signed_in(app, address)
    assert 'content="0; url=/"' in answer.text


def test_beginning_without_end_is_limited_by_address(app: Flask, settings: Settings, provider: OpenIdProvider) -> None:
    limited = api.create_app(
        replace(
            settings, rate_limit=60, api_url="http://localhost", oidc_issuer=provider.issuer, oidc_client_id=CLIENT_ID
        )
    )  # fmt: skip
    client = limited.test_client()
    answers = [client.get("/sign-in/provider") for _ in range(22)]  # two windows' worth, and more
    assert 429 in {answer.status_code for answer in answers}
    kept = app.extensions["dcloud"].ledger.redis.keys("*pending*")
    assert 1 <= len(kept) <= 20


def test_a_provider_that_is_away_is_503(app: Flask, provider: OpenIdProvider) -> None:
    provider.silent = True
    for answer in (app.test_client().get("/sign-in/provider"), app.test_client().post(DEVICE)):
        assert "does not answer" in problem(answer, 503)


def test_without_a_provider_there_is_no_such_way(settings: Settings) -> None:
    client = api.create_app(settings).test_client()
    assert client.get("/api/v1/login").get_json() == {"password": True, "device": False}
    for answer in (client.get("/sign-in/provider"), client.post(DEVICE), client.get("/sign-in/provider/back")):
        problem(answer, 404)


def test_a_provider_must_be_one_that_can_be_believed() -> None:
    given = {"DCLOUD_REDIS_URL": "redis://x", "DCLOUD_OIDC_CLIENT_ID": "d"}
    for issuer in ("http://id.example", "id.example", "http://127.0.0.1.example"):
        with pytest.raises(SettingsError, match="https"):
            Settings.from_env({**given, "DCLOUD_OIDC_ISSUER": issuer})
    with pytest.raises(SettingsError, match="CLIENT_ID"):
        Settings.from_env({"DCLOUD_REDIS_URL": "redis://x", "DCLOUD_OIDC_ISSUER": "https://id.example"})


# by device code


def test_a_command_gets_a_token_when_its_code_is_confirmed(app: Flask, provider: OpenIdProvider) -> None:
    provider.person["groups"] = ["ops"]
    client = app.test_client()
    assert client.get("/api/v1/login").get_json()["device"] is True
    begun = client.post(DEVICE)
    assert begun.status_code == 201
    shown = begun.get_json()
    assert shown["user_code"] in shown["verification_uri_complete"]
    assert "device_code" not in shown
    ask = {"json": {"device": shown["device"]}}
    waiting = client.post(f"{DEVICE}/token", **ask)
    assert (waiting.status_code, waiting.get_json()["status"]) == (202, "pending")
    provider.confirm(shown["user_code"])
    time.sleep(0.1)
    done = client.post(f"{DEVICE}/token", **ask)
    assert done.status_code == 201
    made = done.get_json()
    assert (made["user"], made["kind"], made["scopes"]) == ("ada", "command", ["read", "submit", "admin"])
    assert made["token"].startswith("dc_c_")
    assert made["expires_at"]
    assert client.get(ME, headers={"Authorization": f"Bearer {made['token']}"}).get_json()["role"] == "admin"
    problem(client.post(f"{DEVICE}/token", **ask), 410)  # once


def test_the_provider_is_asked_no_more_often_than_it_wishes(app: Flask, provider: OpenIdProvider) -> None:
    provider.interval = 60
    client = app.test_client()
    shown = client.post(DEVICE).get_json()
    for _ in range(5):
        assert client.post(f"{DEVICE}/token", json={"device": shown["device"]}).status_code == 202
    assert provider.asked.count("/token") == 1


def test_a_code_of_nobody_opens_nothing(app: Flask, provider: OpenIdProvider) -> None:
    client = app.test_client()
    for device in ("", "x", "*", "\u0000"):
        problem(client.post(f"{DEVICE}/token", json={"device": device}), 410)
    shown = client.post(DEVICE).get_json()
    provider.confirm(shown["user_code"])
    provider.person["groups"] = []
    problem(client.post(f"{DEVICE}/token", json={"device": shown["device"]}), 403)


def test_device_codes_are_not_for_the_taking(app: Flask) -> None:
    client = app.test_client()
    codes = [client.post(DEVICE).status_code for _ in range(11)]
    assert codes == [201] * 10 + [429]


def test_a_command_gets_a_token_for_a_password(app: Flask, parts: Services) -> None:
    parts.accounts.create_user("eve")
    parts.accounts.set_password("eve", "correct horse battery")
    client = app.test_client()
    made = client.post("/api/v1/login", json={"name": "eve", "password": "correct horse battery"})
    assert made.status_code == 201
    assert made.get_json()["scopes"] == ["read", "submit"]
    problem(client.post("/api/v1/login", json={"name": "eve", "password": "x"}), 401)
