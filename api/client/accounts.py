"""Accounts, tokens, quotas, hosts and the audit log: what admins do, and what everyone does with their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from api.client.connection import ApiError, Connection, Json

ME = "me"
CHANGED = 412


class Accounts(Connection):
    """The part of a client that is about people."""

    def user(self, name: str = ME) -> Json:
        """An account, by default one's own."""
        return self._json("GET", f"/users/{name}")

    def users(self) -> Iterator[Json]:
        """All accounts, by name."""
        return self._pages("/users", "users")

    def create_user(self, name: str, role: str = "user", password: str | None = None) -> Json:
        """Add an account."""
        body = {"name": name, "role": role, **({} if password is None else {"password": password})}
        return self._json("POST", "/users", json=body)

    def change_user(self, name: str, **changes: Any) -> Json:
        """Change `role` or `disabled`."""
        return self._json("PATCH", f"/users/{name}", json=changes)

    def set_password(self, password: str, current: str = "", name: str = ME) -> None:
        """Set a password; one's own with the present one, where there is one."""
        self._request("PUT", f"/users/{name}/password", json={"password": password, "current": current})

    def tokens(self, user: str = "") -> list[Json]:
        """One's tokens; another's for admins."""
        return list(self._pages("/tokens", "tokens", user=user))

    def create_token(
        self, name: str = "", scopes: Collection[str] = (), lifetime: str = "", kind: str = "user", user: str = ""
    ) -> Json:
        """A new token; `token` in the answer is the only time that it can be seen."""
        body: Json = {"name": name, "kind": kind, "lifetime": lifetime}
        body |= {"scopes": list(scopes)} if scopes else {}
        return self._json("POST", "/tokens", json=body | ({"user": user} if user else {}))

    def revoke_token(self, token_id: str) -> None:
        """End a token at once."""
        self._request("DELETE", f"/tokens/{token_id}")

    def rotate_token(self, token_id: str, overlap: str = "24h") -> Json:
        """A token in the place of this one, which works until the overlap is over."""
        return self._json("POST", f"/tokens/{token_id}/rotate", json={"overlap": overlap})

    def quota(self, name: str | None = ME) -> Json:
        """A user's limits and what is used; None is the default of everyone."""
        return self._json("GET", _quota(name))

    def change_quota(self, name: str | None, **limits: int | None) -> Json:
        """Change some limits, in the API's units, and keep the others; None is no limit."""
        for last in (False, False, True):
            seen = self._request("GET", _quota(name))
            body, condition = {**seen.json()["limits"], **limits}, {"If-Match": seen.headers["ETag"]}
            try:
                return self._json("PUT", _quota(name), json=body, headers=condition)
            except ApiError as error:  # somebody else changed them, or what is used changed
                if last or error.status != CHANGED:
                    raise
        raise AssertionError

    def clear_quota(self, name: str | None) -> Json:
        """Let the default hold for a user again, or have no default."""
        return self._json("DELETE", _quota(name))

    def drain(self, host: str, draining: bool = True) -> Json:
        """Let a host take nothing new, or let it again."""
        return self._json("POST", f"/hosts/{host}/{'drain' if draining else 'undrain'}")

    def forget(self, host: str, force: bool = False) -> None:
        """Forget a lost host; by force with what it holds."""
        self._request("DELETE", f"/hosts/{host}", params={"force": "1" if force else "0"})

    def audit(self, user: str = "", action: str = "") -> Iterator[Json]:
        """Who did what, newest first."""
        return self._pages("/audit", "entries", user=user, action=action)

    # without a token

    def ways_in(self) -> Json:
        """`password` and `device`: how one gets a token here."""
        return self._json("GET", "/login")

    def log_in(self, name: str, password: str) -> Json:
        """A new token for a password."""
        return self._json("POST", "/login", json={"name": name, "password": password})

    def begin_device(self) -> Json:
        """Begin at the provider: `user_code` is to be confirmed at `verification_uri`."""
        return self._json("POST", "/login/device")

    def finish_device(self, device: str) -> Json:
        """A new token once the code is confirmed; before that, `status` is pending."""
        return self._json("POST", "/login/device/token", json={"device": device})


def _quota(name: str | None) -> str:
    return "/quota" if name is None else f"/users/{name}/quota"
