"""A small OpenID provider that really serves: discovery, keys, authorization with PKCE, device codes, tokens.

It keeps to the standards where a client can get them wrong: a code is good once, for the redirect address and the
challenge that it was given for, and a token is for whoever knows the client's secret. A test can bend what it signs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

CLIENT_ID, CLIENT_SECRET = "dcloud", "the client's secret"


class OpenIdProvider:
    """Who signs in is `person`; `claims` are added to what is signed, `key` signs it."""

    def __init__(self) -> None:
        self.key = rsa_key("first")
        self.algorithm = "RS256"
        self.person: dict[str, Any] = {"sub": "1", "preferred_username": "ada", "groups": []}
        self.claims: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.devices: dict[str, dict[str, Any]] = {}
        self.published = [self.key]
        self.interval = 0.05
        self.asked: list[str] = []
        self.silent = False
        self.issuer = ""

    @contextmanager
    def serving(self) -> Iterator[OpenIdProvider]:
        with ThreadingHTTPServer(("127.0.0.1", 0), _handler(self)) as server:
            self.issuer = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def change_keys(self, key: str = "second") -> None:
        """Sign by another key from now on."""
        self.key = rsa_key(key)
        self.published = [self.key]

    def confirm(self, user_code: str) -> None:
        """The person confirms a device's code on another screen."""
        for device in self.devices.values():
            if device["user_code"] == user_code:
                device["confirmed"] = True

    def get(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "device_authorization_endpoint": f"{self.issuer}/device",
                "jwks_uri": f"{self.issuer}/keys",
            }
        if path == "/keys":
            return 200, {"keys": [key.as_dict(private=False) for key in self.published]}
        if path == "/authorize" and query["client_id"] == CLIENT_ID and query["response_type"] == "code":
            assert query["code_challenge_method"] == "S256"
            assert "openid" in query["scope"].split()
            code = secrets.token_hex(8)
            self.codes[code] = query
            return 302, f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
        return 404, {}

    def post(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET.replace(' ', '+').replace(chr(39), '%27')}".encode())
        if authorization != f"Basic {expected.decode()}":
            return 401, {"error": "invalid_client"}
        if path == "/device":
            return 200, self._begun()
        return self._granted(form) if path == "/token" else (404, {})

    def _begun(self) -> dict[str, Any]:
        device, user_code = secrets.token_hex(8), secrets.token_hex(3).upper()
        self.devices[device] = {"user_code": user_code, "confirmed": False}
        return {
            "device_code": device,
            "user_code": user_code,
            "verification_uri": f"{self.issuer}/activate",
            "verification_uri_complete": f"{self.issuer}/activate?user_code={user_code}",
            "expires_in": 600,
            "interval": self.interval,
        }

    def _granted(self, form: dict[str, str]) -> tuple[int, Any]:
        if form["grant_type"] == "authorization_code":
            asked = self.codes.pop(form.get("code", ""), {})
            digest = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
            given = {"redirect_uri": form.get("redirect_uri"), "code_challenge": digest.rstrip(b"=").decode()}
            if not asked or any(asked[name] != value for name, value in given.items()):
                return 400, {"error": "invalid_grant"}
            return 200, self._tokens({"nonce": asked["nonce"]})
        device = self.devices.get(form["device_code"], {})
        if not device.get("confirmed"):
            return 400, {"error": "authorization_pending" if device else "invalid_grant"}
        del self.devices[form["device_code"]]
        return 200, self._tokens({})

    def _tokens(self, claims: dict[str, Any]) -> dict[str, Any]:
        now = int(time.time())
        signed = {
            "iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, **self.person, **claims, **self.claims,
        }  # fmt: skip
        head = {"alg": self.algorithm, "kid": self.key.kid}
        text = _unsigned(signed) if self.algorithm == "none" else jwt.encode(head, signed, self.key, [self.algorithm])
        return {"access_token": secrets.token_hex(8), "token_type": "Bearer", "id_token": text}


@cache
def rsa_key(kid: str, which: int = 0) -> RSAKey:
    """A key under this id; making one takes a while, so each is made once."""
    return RSAKey.generate_key(2048, {"kid": kid})


def secret_key(text: str) -> OctKey:
    """A key of text that both sides know."""
    return OctKey.import_key(text, {"kid": "secret"})


def _unsigned(claims: dict[str, Any]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "none"}, claims))
    return b".".join([*parts, b""]).decode()


def _handler(provider: OpenIdProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._answer(parts.path, lambda: provider.get(parts.path, _flat(parts.query)))

        def do_POST(self) -> None:
            form = _flat(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self._answer(self.path, lambda: provider.post(self.path, form, self.headers.get("Authorization", "")))

        def _answer(self, path: str, found: Any) -> None:
            provider.asked.append(path)
            if provider.silent:
                self.close_connection = True
                return
            status, body = found()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", body)
                body = {}
            data = json.dumps(body).encode()
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """The tests' output stays theirs."""

    return Handler


def _flat(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text).items()}
