"""Hostile input at the served API on a real Redis: in bodies, addresses, queries and headers of every call.

Each is done or refused as a problem in words, never a defect (5xx) or a second line of a log; what is kept prints.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from api_fixtures import Server
from flask import Flask
from hostile import BODIES, HARMFUL, TEXTS
from redis import Redis
from test_api_access import filled, routes

from api.problem_types import TYPES

V1 = "/api/v1"
ENVIRONMENTS = f"{V1}/environments"
HEADERS = (
    *("X-Request-Id", "Idempotency-Key", "If-Match", "If-None-Match", "Prefer", "Last-Event-ID", "Accept", "Range"),
    *(
        "User-Agent",
        "Content-Type",
        "Accept-Language",
        "Cookie",
        "Origin",
        "X-CSRF-Token",
        "X-Forwarded-For",
        "Referer",
    ),
    *("Content-Encoding", "Sec-Fetch-Site", "If-Modified-Since", "X-HTTP-Method-Override", "Forwarded"),
)
TYPE = {kind: f"application/{kind}" for kind in ("json", "yaml", "toml")}

# every call with a JSON body that is kept or shown, as it is done
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", f"{V1}/users", {"name": "eve", "role": "user", "password": "correct horse battery"}),
    ("POST", f"{V1}/tokens", {"name": "ci", "kind": "user", "scopes": ["read"], "lifetime": "90d", "user": "ada"}),
    ("POST", f"{V1}/tokens/<token_id>/rotate", {"overlap": "1h"}),
    ("POST", f"{V1}/templates", {"name": "t", "title": "T", "description": "D", "contract": {"env-name": "x"}}),
    ("PUT", f"{V1}/templates/mine", {"title": "T", "description": "D", "contract": {"env-name": "x"}}),
    ("POST", f"{V1}/webhooks", {"url": "https://example.org/x", "states": ["running"]}),
    ("PATCH", f"{V1}/users/ada", {"role": "user"}),
    ("PUT", f"{V1}/users/ada/password", {"password": "correct horse battery", "current": "x"}),
    ("PUT", f"{V1}/users/ada/quota", {"environments": 10, "cpu": "4", "ram": "8GB", "gpus": 1, "storage": "40GB"}),
    ("PUT", f"{V1}/quota", {"environments": 10, "cpu": "4", "ram": "8GB", "gpus": 1, "storage": "40GB"}),
    ("PUT", f"{ENVIRONMENTS}/<env_id>/storage", {"storage": "40GB"}),
    ("POST", f"{ENVIRONMENTS}/<env_id>/exec", {"command": ["ls"]}),
    ("POST", f"{V1}/login", {"name": "ada", "password": "correct horse battery"}),
    ("POST", f"{V1}/login/device/token", {"device": "x"}),
    ("POST", f"{V1}/channels/{'0' * 41}/input", {"seq": 1, "data": "eA=="}),
]


@pytest.fixture
def root(server: Server, token_of: Callable[..., str]) -> Iterator[httpx.Client]:
    """An admin, who may call everything."""
    token_of("ada")
    headers = {"Authorization": f"Bearer {token_of('root', 'admin')}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def log(server: Server) -> Callable[[], list[dict[str, Any]]]:
    """What the server has logged since the test began, each line of it JSON."""
    before = server.log.stat().st_size

    def lines() -> list[dict[str, Any]]:
        text = server.log.read_bytes()[before:]
        assert text.isascii()
        return [json.loads(line) for line in text.splitlines()]

    return lines


def harmless(answer: httpx.Response) -> None:
    """What must hold of every answer."""
    case = (answer.request.method, answer.request.url, answer.request.headers, answer.status_code, answer.text[:500])
    assert answer.status_code < 500 or answer.status_code == 503, case
    for name, value in answer.headers.items():
        assert (name + value).isascii(), case
        assert (name + value).isprintable(), case
    if answer.status_code == 400 and answer.headers["Content-Type"] == "text/html":
        return  # gunicorn's own word for what is no HTTP
    if answer.status_code >= 400:
        found = answer.json()
        assert found["type"] in {kind.urn for kind in TYPES.values()}, case
        for text in (found["detail"], *(problem["message"] for problem in found.get("errors", []))):
            assert text.isprintable(), case
            assert len(text) < 1000, case


def words_in(redis_url: str) -> Iterator[str]:
    """Whatever Redis keeps in keys, strings, sets and hashes."""
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        for key in redis.scan_iter("*"):
            yield key
            match redis.type(key):
                case "hash":
                    yield from (part for pair in redis.hgetall(key).items() for part in pair)
                case "set":
                    yield from redis.smembers(key)
                case "string":
                    yield redis.get(key)


@pytest.mark.parametrize("path", [ENVIRONMENTS, f"{ENVIRONMENTS}/check", f"{V1}/templates"])
def test_documents(root: httpx.Client, log: Any, path: str) -> None:
    for kind, body in BODIES:
        sent = b'{"name": "x", "contract": ' + body + b"}" if path.endswith("templates") else body
        answer = root.post(path, content=sent, headers={"Content-Type": TYPE[kind]})
        harmless(answer)
        assert answer.status_code in (415, 422), (kind, body[:40], answer.text[:300])
    assert root.get(ENVIRONMENTS).json()["environments"] == []
    assert log() == []


@pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=lambda value: str(value)[:40])
def test_texts_in_every_field(
    root: httpx.Client, redis_url: str, log: Any, method: str, path: str, body: dict[str, Any]
) -> None:
    env_id = root.post(ENVIRONMENTS, json={}).json()["id"]
    token_id = root.post(f"{V1}/tokens", json={}).json()["id"]
    at = path.replace("<env_id>", env_id).replace("<token_id>", token_id)
    for number, text in enumerate(TEXTS[::3]):
        for name in body:
            value: Any = (text, [text], {"env-name": text})[number % 3] if name in ("contract", "command") else text
            harmless(root.request(method, at, content=json.dumps(body | {name: value})))
        harmless(root.request(method, at, content=json.dumps(body | {text: "x"})))
    for word in words_in(redis_url):
        assert word.isprintable(), word  # it can be shown as it is
    for line in log():
        assert line["level"] != "error", line


def test_texts_in_addresses_and_queries(root: httpx.Client, app: Flask, log: Any) -> None:
    names = ("limit", "cursor", "state", "owner", "after", "source", "tail", "follow", "user", "action", "format")
    for method, rule, endpoint in routes(app):
        if method == "HEAD" or endpoint.startswith("pages.flower"):
            continue
        for text in (*HARMFUL[::4], "a\r\nb", "x" * 5000):
            word = quote(text, safe="", errors="surrogatepass")
            at = re.sub(r"<[^>]+>", lambda _, word=word: word, rule)
            if at != rule:
                harmless_or_page(root.request(method, at, json=None if method == "GET" else {}), endpoint)
        if rule.startswith(V1):
            at = filled(rule, "0" * 15)
            for text in (HARMFUL[0], "a\r\nX: y", "9" * 300):
                word = quote(text, safe="", errors="surrogatepass")
                for query in (*(f"{name}={word}" for name in names), f"{word}=x"):
                    harmless(root.request(method, f"{at}?{query}", json=None if method == "GET" else {}))
    for line in log():
        assert line["level"] not in ("error", "critical"), line


def harmless_or_page(answer: httpx.Response, endpoint: str) -> None:
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        assert answer.status_code < 500, endpoint
        assert "\u202e" not in answer.text, endpoint
        assert "<script>" not in answer.text, endpoint
    else:
        harmless(answer)


def test_texts_in_headers(root: httpx.Client, log: Any) -> None:
    env_id = root.post(ENVIRONMENTS, json={}).json()["id"]
    texts = [text.encode("utf-8", "surrogatepass") for text in TEXTS[::3]]
    texts += [b"\xff\xfe", b"W/", b'"', b'W/"', b"wait=-1", b"bytes=9-1", b"*/*;q=9e9", b"a=b; " * 500]
    for name, text in ((name, text) for name in HEADERS for text in texts):
        for method, path in (("GET", f"{ENVIRONMENTS}/{env_id}"), ("POST", ENVIRONMENTS)):
            with suppress(httpx.LocalProtocolError):  # our own side sends no such thing; gunicorn has its test below
                harmless(root.request(method, path, headers={name: text}, content=b"{}" if method == "POST" else None))
    for line in log():
        assert line["level"] not in ("error", "critical"), line


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\nlevel: critical\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b'GET /\n{"level":"critical"} HTTP/1.1\r\nHost: x\r\n\r\n',
        b"GET /healthz\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\xe2\x80\xae: y\r\n\r\n",
        b"G\xc3\x89T / HTTP/9.9\r\n\r\n",
    ],
    ids=lambda head: repr(head[:40]),
)
def test_what_is_no_http_forges_no_line_of_the_log(root: httpx.Client, log: Any, head: bytes) -> None:
    with socket.create_connection((root.base_url.host, root.base_url.port or 0), timeout=10) as client:
        client.sendall(head)
        client.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while client.recv(65536):
                pass
    assert root.get("/healthz").status_code == 200
    assert all(line["level"] != "critical" for line in log())


def test_nothing_that_lies_in_redis_opens_anything(
    root: httpx.Client, redis_url: str, server: Server, token_of: Callable[..., str]
) -> None:
    """Every word of it, the digests of tokens, passwords and sessions among them, as token, cookie and password."""
    for name in ("eve", "mia"):
        assert root.post(f"{V1}/users", json={"name": name, "password": "correct horse battery"}).status_code == 201
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as http:
        assert http.post("/sign-in", data={"name": "eve", "password": "correct horse battery"}).status_code == 303
        assert http.get(ENVIRONMENTS).status_code == 200
        http.cookies.clear()
        token_of("ada")
        kept = list(words_in(redis_url))
        parts = {part for word in kept for part in (word, *word.split(":")) if part.isascii() and part.isprintable()}
        words = {part for part in parts if 8 <= len(part) <= 500}
        assert any(re.fullmatch("[0-9a-f]{64}", word) for word in words)  # digests of tokens
        assert any(word.startswith("$argon2") for word in words)
        for word in words:
            for token in (word, f"dc_u_{word}", *(f"dc_u_{other}_{word}" for other in words if len(other) == 10)):
                assert http.get(ENVIRONMENTS, headers={"Authorization": f"Bearer {token}"}).status_code == 401, token
            assert http.get(ENVIRONMENTS, headers={"Cookie": f"dcloud_session={word}"}).status_code == 401, word
        for word in sorted(words, key=len)[-5:]:
            assert http.post(f"{V1}/login", json={"name": "mia", "password": word}).status_code in (401, 422, 429)
