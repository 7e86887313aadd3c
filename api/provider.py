"""The OpenID provider that DCLOUD_OIDC_ISSUER names: who somebody is, by what it signed. Nothing else is believed.

For pages by authorization code with PKCE, for the command by device code (RFC 8628). Each question to the provider
has a deadline.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote_plus

import httpx
from authlib.oauth2.base import OAuth2Error
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from api.problems import Refused
from common.addresses import is_loopback
from common.settings import Settings

TIMEOUT_SECONDS = 5.0
KEEP_SECONDS = 600.0  # how long what the provider said of itself holds
LEEWAY_SECONDS = 60
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PENDING = ("authorization_pending", "slow_down")


@dataclass(frozen=True)
class Person:
    """Somebody whom the provider knows."""

    issuer: str
    subject: str
    name: str
    groups: frozenset[str]


class NotYet(Exception):
    """The person has not answered the provider yet."""


class Provider:
    """One provider, with what it said of itself. Safe to share between threads."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._said: tuple[float, dict[str, Any], KeySet] | None = None

    def authorization(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where to send a browser. Raises Refused (503) where the provider does not answer."""
        with self._http() as http:
            client = self._client(http, redirect_uri)
            url, _ = client.create_authorization_url(
                self._metadata()["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
            )
        return cast(str, url)

    def exchange(self, redirect_uri: str, code: str, nonce: str, verifier: str) -> Person:
        """Who came back with this code. Raises Refused."""
        return self._person(
            self._token(redirect_uri, grant_type="authorization_code", code=code, code_verifier=verifier), nonce
        )

    def begin_device(self) -> dict[str, Any]:
        """`device_code`, `user_code`, `verification_uri` and so on. Raises Refused."""
        endpoint = self._metadata().get("device_authorization_endpoint")
        if not endpoint:
            raise Refused(400, "This provider has no sign-in for devices. Sign in on a page and make a token there.")
        body = {"client_id": self._settings.oidc_client_id, "scope": self._settings.oidc_scopes}
        with self._http() as http:
            try:
                answer = http.post(endpoint, data=body, auth=self._auth())
                found = answer.json()
            except (httpx.HTTPError, ValueError) as error:
                raise _away(error) from None
        if answer.is_error or not {"device_code", "user_code", "verification_uri", "expires_in"} <= set(found):
            raise Refused(503, "The provider refuses to begin a sign-in for a device. Its operator has to allow that.")
        return cast(dict[str, Any], found)

    def finish_device(self, device_code: str) -> Person:
        """Who has confirmed the code. Raises NotYet, Refused."""
        return self._person(self._token("", grant_type=DEVICE_GRANT, device_code=device_code), "")

    def role(self, person: Person) -> str:
        """What the person's groups make of them. Raises Refused (403) where none of them may come in."""
        admins, users = (_names(self._settings.oidc_admin_groups), _names(self._settings.oidc_user_groups))
        if person.groups & admins:
            return "admin"
        if not users or person.groups & users:
            return "user"
        raise Refused(403, "None of your groups may use DCloud. Ask whoever runs it.")

    def _token(self, redirect_uri: str, **grant: str) -> dict[str, Any]:
        with self._http() as http:
            client = self._client(http, redirect_uri)
            if "client_secret_basic" not in self._metadata().get(
                "token_endpoint_auth_methods_supported", ["client_secret_basic"]
            ):
                grant["client_secret"] = self._settings.oidc_client_secret
            try:
                return cast(
                    dict[str, Any],
                    client.fetch_token(
                        self._metadata()["token_endpoint"],
                        auth=self._auth(),
                        client_id=self._settings.oidc_client_id,
                        **grant,
                    ),
                )
            except OAuth2Error as error:
                if error.error in PENDING:
                    raise NotYet from None
                raise Refused(403, f"The provider did not let you in ({error.error}). Begin again.") from None
            except (httpx.HTTPError, ValueError) as error:
                raise _away(error) from None

    def _person(self, token: dict[str, Any], nonce: str) -> Person:
        text = token.get("id_token")
        if not isinstance(text, str):
            raise Refused(503, "The provider did not say who you are. Its operator has to allow the scope openid.")
        try:
            decoded = self._decoded(text)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                {
                    "iss": {"essential": True, "value": self._settings.oidc_issuer},
                    "aud": {"essential": True, "value": self._settings.oidc_client_id},
                },
                {"nonce": nonce, "client_id": self._settings.oidc_client_id, "access_token": token.get("access_token")},
            )
            claims.validate(leeway=LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise Refused(403, f"What the provider said of you does not hold ({_kind(error)}). Begin again.") from None
        groups = claims.get(self._settings.oidc_groups_claim) or []
        return Person(
            issuer=self._settings.oidc_issuer,
            subject=str(claims["sub"]),
            name=str(claims.get(self._settings.oidc_name_claim) or claims["sub"]),
            groups=frozenset(map(str, groups if isinstance(groups, list) else [groups])),
        )

    def _decoded(self, text: str) -> Any:
        try:
            return jwt.decode(text, self._keys(), algorithms=list(ALGORITHMS))
        except (JoseError, ValueError):
            return jwt.decode(text, self._keys(anew=True), algorithms=list(ALGORITHMS))  # they may have been changed

    def _metadata(self) -> dict[str, Any]:
        return self._discovered()[0]

    def _keys(self, *, anew: bool = False) -> KeySet:
        return self._discovered(anew=anew)[1]

    def _discovered(self, *, anew: bool = False) -> tuple[dict[str, Any], KeySet]:
        if self._said is not None and not anew and time.monotonic() - self._said[0] < KEEP_SECONDS:
            return self._said[1], self._said[2]
        with self._http() as http:
            try:
                found = http.get(f"{self._settings.oidc_issuer.rstrip('/')}/.well-known/openid-configuration")
                metadata = found.raise_for_status().json()
                keys = KeySet.import_key_set(http.get(metadata["jwks_uri"]).raise_for_status().json())
            except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError) as error:
                raise _away(error) from None
        if metadata.get("issuer") != self._settings.oidc_issuer:
            raise Refused(503, "The provider calls itself otherwise than DCLOUD_OIDC_ISSUER does.")
        self._said = (time.monotonic(), metadata, keys)
        return metadata, keys

    def _client(self, http: httpx.Client, redirect_uri: str) -> Any:
        return OAuth2Client(
            http,
            client_id=self._settings.oidc_client_id,
            scope=self._settings.oidc_scopes,
            redirect_uri=redirect_uri or None,
            code_challenge_method="S256",
        )

    def _http(self) -> httpx.Client:
        return httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=not is_loopback(self._settings.oidc_issuer))

    def _auth(self) -> httpx.Auth:
        secret = self._settings.oidc_client_secret
        if not secret:
            return httpx.Auth()  # a public client only says its id
        return httpx.BasicAuth(quote_plus(self._settings.oidc_client_id), quote_plus(secret))


def _away(error: Exception) -> Refused:
    return Refused(503, f"The provider that signs people in does not answer ({_kind(error)}). Try again in a moment.")


def _kind(error: Exception) -> str:
    return str(getattr(error, "error", "") or type(error).__name__)


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())
