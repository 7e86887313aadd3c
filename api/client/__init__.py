"""The HTTP API from Python: what `dcloud` is built on.

    with Client("http://127.0.0.1:8000", token) as client:
        lab = client.submit({"template": "pytorch"}).wait(on_progress=lambda event: print(event["progress"]))

Answers are the API's own JSON (docs/api.md). Raises ApiError where the server refuses, Unreachable
where it cannot be reached or does not work, DidNotStart where what was waited for will not run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from api.client.accounts import Accounts
from api.client.channels import INPUT_BYTES, Channels
from api.client.connection import ApiError, Json, Unreachable
from api.client.environments import DidNotStart, Environment, Environments

CONFLICT = 409

__all__ = ["INPUT_BYTES", "ApiError", "Client", "DidNotStart", "Environment", "Json", "Unreachable"]


class Client(Environments, Channels, Accounts):
    """All that the API does, with one server and one token. Close it, or use it by `with`."""

    def hosts(self) -> list[Json]:
        """Every host."""
        return list(self._pages("/hosts", "hosts"))

    def catalog(self) -> Json:
        """What can be chosen now, and what of it is free."""
        return self._json("GET", "/catalog")

    def templates(self) -> Iterator[Json]:
        """Those that the token may use, by name."""
        return self._pages("/templates", "templates")

    def template(self, name: str) -> Json:
        """One template."""
        return self._json("GET", f"/templates/{name}")

    def save_template(
        self, name: str, contract: Mapping[str, Any], *, title: str = "", description: str = "", public: bool = False
    ) -> Json:
        """Add a template, or replace the content of one's own. Raises ApiError (403) where it is somebody else's."""
        content = {"title": title, "description": description, "public": public, "contract": contract}
        try:
            return self._json("POST", "/templates", json={"name": name, **content})
        except ApiError as error:
            if error.status != CONFLICT:
                raise
        return self._json("PUT", f"/templates/{name}", json=content)

    def webhooks(self) -> list[Json]:
        """One's webhooks."""
        return list(self._pages("/webhooks", "webhooks"))

    def create_webhook(self, url: str, states: Collection[str] = ()) -> Json:
        """Have steps of one's environments posted to `url`; the answer alone has the `secret` that signs them."""
        wanted = {"url": url, "states": list(states)} if states else {"url": url}
        return self._json("POST", "/webhooks", json=wanted)

    def delete_webhook(self, hook_id: str) -> None:
        """Delete a webhook."""
        self._request("DELETE", f"/webhooks/{hook_id}")

    def delete_template(self, name: str) -> None:
        """Delete a template."""
        self._request("DELETE", f"/templates/{name}")
