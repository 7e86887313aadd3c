"""The HTTP API from Python: what `dcloud` is built on.

Answers are the API's own JSON (docs/api.md). Raises ApiError where the server refuses, Unreachable
where it cannot be reached or does not work.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import time
import uuid
from collections.abc import Collection, Iterator
from typing import Any

import httpx

from common.errors import DCloudError, Problem

ROOT = "/api/v1"
TIMEOUT_SECONDS = 15.0
QUIET_SECONDS = 40.0  # a live answer pings every 15 s; longer silence is a lost connection
WAIT_SECONDS = 20
CHECK_SECONDS = 60  # what the server bears at most
PATIENCE_SECONDS = 60.0  # how long a watcher bears a server that cannot be reached
INPUT_BYTES = 16 * 1024  # what the server takes at once
OVER = ("failed", "deleted")

Json = dict[str, Any]


class ApiError(DCloudError):
    """The server refused. `status` is HTTP's; `problems` says what is wrong with a document, with paths."""

    def __init__(self, status: int, detail: str, problems: list[Problem]):
        self.status = status
        self.problems = problems
        super().__init__(detail)


class Unreachable(DCloudError):
    """The server cannot be reached, or something behind it is away."""


class Client:
    """A connection to one server with one token. Safe to share between threads; close it, or use it by `with`."""

    def __init__(self, url: str, token: str):
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=TIMEOUT_SECONDS,
            trust_env=not _is_loopback(self.url),  # a proxy cannot reach this machine's own addresses
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, contract: bytes, media_type: str = "application/json", key: str = "") -> Json:
        """Submit a contract. Repeats by itself what was lost on the way; `key` makes that hold across calls."""
        headers = {"Content-Type": media_type, "Idempotency-Key": key or str(uuid.uuid4())}
        for pause in (0.2, 1.0, 3.0):
            try:
                return self._json("POST", "/environments", content=contract, headers=headers)
            except Unreachable:
                time.sleep(pause)
        return self._json("POST", "/environments", content=contract, headers=headers)

    def get(self, env_id: str) -> Json:
        """One environment."""
        return self._json("GET", f"/environments/{env_id}")

    def environments(self, states: Collection[str] = (), owner: str = "") -> Iterator[Json]:
        """All that the token may see, newest first."""
        query = {"limit": "100", "state": ",".join(states), "owner": owner, "cursor": ""}
        while True:
            page = self._json("GET", "/environments", params=query)
            yield from page["environments"]
            if not page["next"]:
                return
            query["cursor"] = page["next"]

    def delete(self, env_id: str) -> Json:
        """Remove an environment and its storage."""
        return self._json("DELETE", f"/environments/{env_id}")

    def stop(self, env_id: str) -> Json:
        """End its container and keep its storage."""
        return self._json("POST", f"/environments/{env_id}/stop")

    def start(self, env_id: str) -> Json:
        """Start it again."""
        return self._json("POST", f"/environments/{env_id}/start")

    def hosts(self) -> list[Json]:
        """Every host."""
        return list(self._json("GET", "/hosts")["hosts"])

    def catalog(self) -> Json:
        """What can be chosen now, and what of it is free."""
        return self._json("GET", "/catalog")

    def check(self, contract: bytes, media_type: str = "application/json", *, libraries: bool = False) -> Json:
        """What would become of a contract: `verdict` now, wait or never, and with `libraries` whether they install."""
        return self._json(
            "POST",
            "/environments/check",
            content=contract,
            headers={"Content-Type": media_type, "Prefer": f"wait={CHECK_SECONDS}"},
            params={"libraries": "1" if libraries else "0"},
            timeout=CHECK_SECONDS + TIMEOUT_SECONDS,
        )

    def explain(self, env_id: str) -> Json:
        """Why an environment waits and until when, host by host."""
        return self._json("GET", f"/environments/{env_id}/explain")

    def history(self, env_id: str, after: str = "0") -> list[Json]:
        """The events after the event `after`."""
        return list(self._json("GET", f"/environments/{env_id}/events", params={"after": after})["events"])

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
            yield from _translated(response.iter_bytes())

    def lock(self, env_id: str) -> str:
        """Its libraries with versions and hashes, to be submitted again as `language.lock`."""
        return self._request("GET", f"/environments/{env_id}/lock").text

    def exec(self, env_id: str, command: list[str], *, tty: bool = False, rows: int = 24, cols: int = 80) -> str:
        """Begin a command inside; the id of its channel."""
        body = {"command": command, "tty": tty, "rows": rows, "cols": cols}
        return str(self._json("POST", f"/environments/{env_id}/exec", json=body)["channel"])

    def output(self, channel: str) -> Iterator[Json]:
        """What the command writes: {"kind": "out", "data": bytes}, and at last {"kind": "exit", "code"} or an error."""
        after, reached = "0", time.monotonic()
        while True:
            try:
                for entry_id, entry in self._server_sent(f"/channels/{channel}/output", after):
                    after, reached = entry_id or after, time.monotonic()
                    if "data" in entry:
                        entry["data"] = base64.b64decode(entry["data"])
                    yield entry
                    if entry["kind"] in ("exit", "error"):
                        return
            except Unreachable:
                if time.monotonic() - reached > PATIENCE_SECONDS:
                    raise
                time.sleep(0.5)

    def write(self, channel: str, seq: int, data: bytes) -> None:
        """Bytes for the command's standard input, b"" ends it. `seq` rises with each call for a channel."""
        self._input(
            channel, {"seq": seq, "data": base64.b64encode(data).decode()} if data else {"seq": seq, "close": True}
        )

    def resize(self, channel: str, seq: int, rows: int, cols: int) -> None:
        """The terminal's new size. `seq` rises with each call for a channel."""
        self._input(channel, {"seq": seq, "rows": rows, "cols": cols})

    def hang_up(self, channel: str) -> None:
        """End the command."""
        self._request("DELETE", f"/channels/{channel}")

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

    def _server_sent(self, path: str, after: str) -> Iterator[tuple[str, Json]]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": after}
        with self._stream("GET", path, headers=headers, read_seconds=QUIET_SECONDS) as response:
            entry_id, data = "", ""
            for line in _translated(response.iter_lines()):
                name, _, value = line.partition(":")
                if name == "id":
                    entry_id = value.strip()
                elif name == "data":
                    data = value
                elif not line and data:
                    yield entry_id, json.loads(data)
                    entry_id, data = "", ""

    def _input(self, channel: str, body: Json) -> None:
        reached = time.monotonic()
        while True:
            try:
                self._request("POST", f"/channels/{channel}/input", json=body)
            except ApiError as error:  # the command may take as long as it likes to read
                if error.status != httpx.codes.TOO_MANY_REQUESTS:
                    raise
                reached = time.monotonic()
                time.sleep(0.1)
            except Unreachable:
                if time.monotonic() - reached > PATIENCE_SECONDS:
                    raise
                time.sleep(0.5)
            else:
                return

    def _json(self, method: str, path: str, **kwargs: Any) -> Json:
        found: Json = self._request(method, path, **kwargs).json()
        return found

    def _request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        try:
            response = self._http.request(method, ROOT + path, **kwargs)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        _check(response)
        return response

    def _stream(self, method: str, path: str, *, read_seconds: float | None, **kwargs: Any) -> _Stream:
        timeout = httpx.Timeout(TIMEOUT_SECONDS, read=read_seconds)
        return _Stream(self, self._http.build_request(method, ROOT + path, timeout=timeout, **kwargs))

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"The server at {self.url} cannot be reached: {error}. Is it running? `make run` starts it.")


class _Stream:
    """An answer that is read as it comes."""

    def __init__(self, client: Client, request: httpx.Request):
        self._client = client
        self._request = request

    def __enter__(self) -> httpx.Response:
        try:
            self._response = self._client._http.send(self._request, stream=True)
            if self._response.is_error:
                self._response.read()
        except httpx.TransportError as error:
            raise self._client._unreachable(error) from error
        _check(self._response)
        return self._response

    def __exit__(self, *_: object) -> None:
        self._response.close()


def _translated(parts: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from parts
    except httpx.TransportError as error:
        raise Unreachable(f"The connection was lost: {error}") from error


def _check(response: httpx.Response) -> None:
    if not response.is_error:
        return
    try:
        body = response.json()
        detail = str(body["detail"])
        problems = [Problem(str(e["path"]), str(e["message"])) for e in body.get("errors", [])]
    except (ValueError, KeyError, TypeError):
        detail, problems = f"The server answered {response.status_code} {response.reason_phrase}.", []
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise Unreachable(detail)
    raise ApiError(response.status_code, detail, problems)


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
