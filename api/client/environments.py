"""Environments from Python: submitted, watched, stopped, deleted."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from api.client.connection import (
    PATIENCE_SECONDS,
    TIMEOUT_SECONDS,
    Connection,
    Json,
    Unreachable,
    translated,
)
from common.errors import DCloudError

WAIT_SECONDS = 20
CHECK_SECONDS = 60  # what the server bears at most
OVER = ("failed", "deleted")
SETTLED = ("running", "stopped", *OVER)

OnProgress = Callable[[Json], object]  # takes each event


class DidNotStart(DCloudError):
    """What was waited for failed, was stopped or deleted. `environment` is as it was then."""

    def __init__(self, environment: Environment):
        self.environment = environment
        super().__init__(f"{environment.name} is {environment.state}: {environment.message or environment.reason}")


class Environment(dict[str, Any]):
    """One environment as the server told it, a dictionary of its JSON; its methods ask the server again."""

    def __init__(self, client: Environments, values: Json):
        super().__init__(values)
        self._client = client

    @property
    def id(self) -> str:
        """Its id."""
        return str(self["id"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self["name"])

    @property
    def state(self) -> str:
        """Where it was when the server was asked."""
        return str(self["state"])

    @property
    def progress(self) -> int:
        """0 to 100; 100 is running."""
        return int(self["progress"])

    @property
    def message(self) -> str:
        """What happens, or went wrong, in words."""
        return str(self["message"])

    @property
    def reason(self) -> str:
        """Why it failed or stopped, from the fixed list in docs/api.md."""
        return str(self["reason"])

    @property
    def host(self) -> str:
        """The host that has it, "" while none has."""
        return str(self["host"])

    def refreshed(self) -> Environment:
        """It now."""
        return self._client.get(self.id)

    def settled(self, on_progress: OnProgress | None = None, after: str = "0") -> Environment:
        """It once it runs, or has stopped, failed or been deleted.

        `on_progress` is called with each event after the event `after`.
        """
        for event in self._client.follow(self.id, after):
            if on_progress is not None:
                on_progress(event)
            if event["state"] in SETTLED:
                found = self.refreshed()  # it may have moved on meanwhile: what was missed is told first
                if found.state in SETTLED:
                    return found
        return self.refreshed()

    def wait(self, on_progress: OnProgress | None = None) -> Environment:
        """It once it runs. `on_progress` is called with each event. Raises DidNotStart where it will not."""
        found = self.settled(on_progress)
        if found.state != "running":
            raise DidNotStart(found)
        return found

    def stop(self) -> Environment:
        """End its container and keep its storage."""
        return self._client.stop(self.id)

    def start(self) -> Environment:
        """Start it again."""
        return self._client.start(self.id)

    def grow(self, storage: str) -> Environment:
        """Give it more storage, while it is stopped: the size that it shall have, as in "40GB"."""
        return self._client.grow(self.id, storage)

    def delete(self) -> Environment:
        """Remove it and its storage."""
        return self._client.delete(self.id)


class Environments(Connection):
    """What a client can do with environments."""

    def submit(
        self, contract: Mapping[str, Any] | bytes, media_type: str = "application/json", key: str = ""
    ) -> Environment:
        """Submit a contract: a mapping with its keys, or a document of the media type.

        Repeats by itself what was lost on the way; `key` makes that hold across calls.
        """
        headers = {"Content-Type": media_type, "Idempotency-Key": key or str(uuid.uuid4())}
        for pause in (0.2, 1.0, 3.0):
            try:
                return self._environment("POST", "/environments", content=_body(contract), headers=headers)
            except Unreachable:
                time.sleep(pause)
        return self._environment("POST", "/environments", content=_body(contract), headers=headers)

    def get(self, env_id: str) -> Environment:
        """One environment."""
        return self._environment("GET", f"/environments/{env_id}")

    def environments(self, states: Collection[str] = (), owner: str = "") -> Iterator[Environment]:
        """All that the token may see, newest first."""
        for values in self._pages("/environments", "environments", state=",".join(states), owner=owner):
            yield Environment(self, values)

    def delete(self, env_id: str) -> Environment:
        """Remove an environment and its storage."""
        return self._environment("DELETE", f"/environments/{env_id}")

    def stop(self, env_id: str) -> Environment:
        """End its container and keep its storage."""
        return self._environment("POST", f"/environments/{env_id}/stop")

    def start(self, env_id: str) -> Environment:
        """Start it again."""
        return self._environment("POST", f"/environments/{env_id}/start")

    def grow(self, env_id: str, storage: str) -> Environment:
        """Give a stopped environment more storage: the size that it shall have, as in "40GB"."""
        return self._environment("PUT", f"/environments/{env_id}/storage", json={"storage": storage})

    def check(
        self, contract: Mapping[str, Any] | bytes, media_type: str = "application/json", *, libraries: bool = False
    ) -> Json:
        """What would become of a contract: `verdict` now, wait or never, and with `libraries` whether they install."""
        return self._json(
            "POST",
            "/environments/check",
            content=_body(contract),
            headers={"Content-Type": media_type, "Prefer": f"wait={CHECK_SECONDS}"},
            params={"libraries": "1" if libraries else "0"},
            timeout=CHECK_SECONDS + TIMEOUT_SECONDS,
        )

    def import_(self, body: bytes, file_name: str, kind: str = "") -> Json:
        """What another tool's file means: its `contract`, and `left_out`, what of it a contract cannot say."""
        query = {"filename": file_name, "format": kind} if kind else {"filename": file_name}
        headers = {"Content-Type": "text/plain"}
        return self._json("POST", "/environments/import", content=body, headers=headers, params=query)

    def explain(self, env_id: str) -> Json:
        """Why an environment waits and until when, host by host."""
        return self._json("GET", f"/environments/{env_id}/explain")

    def history(self, env_id: str, after: str = "0") -> list[Json]:
        """The events after the event `after`."""
        return list(self._pages(f"/environments/{env_id}/events", "events", after=after))

    def follow(self, env_id: str, after: str = "0") -> Iterator[Json]:
        """The events after `after`, then live until the environment is over.

        A lost connection is taken up again after the last event; by long-poll where streams do not get through.
        Raises Unreachable after PATIENCE_SECONDS without the server.
        """
        reached = time.monotonic()
        while True:
            try:
                for event in self._events(env_id, after):
                    after, reached = event["id"], time.monotonic()
                    yield event
                    if event["state"] in OVER and self.get(env_id)["state"] in OVER:
                        return
            except Unreachable:
                if time.monotonic() - reached > PATIENCE_SECONDS:
                    raise
                time.sleep(1.0)
            else:
                reached = time.monotonic()

    def logs(self, env_id: str, source: str = "build", follow: bool = False) -> Iterator[bytes]:
        """The log as it comes."""
        query = {"source": source, "follow": "1" if follow else "0"}
        with self._stream("GET", f"/environments/{env_id}/logs", params=query, read_seconds=None) as response:
            yield from translated(response.iter_bytes())

    def lock(self, env_id: str) -> str:
        """Its libraries with versions and hashes, to be submitted again as `language.lock`."""
        return self._request("GET", f"/environments/{env_id}/lock").text

    def _events(self, env_id: str, after: str) -> Iterator[Json]:
        before = after
        try:
            for entry_id, event in self._server_sent(f"/environments/{env_id}/events", after):
                if entry_id:
                    before = entry_id
                    yield event
        except Unreachable:
            found = self.history(env_id, before)
            if not found:
                headers = {"Prefer": f"wait={WAIT_SECONDS}"}
                self._request("GET", f"/environments/{env_id}", headers=headers, timeout=WAIT_SECONDS + 10)
                found = self.history(env_id, before)
            yield from found

    def _environment(self, method: str, path: str, **kwargs: Any) -> Environment:
        return Environment(self, self._json(method, path, **kwargs))


def _body(contract: Mapping[str, Any] | bytes) -> bytes:
    return contract if isinstance(contract, bytes) else json.dumps(contract).encode()
