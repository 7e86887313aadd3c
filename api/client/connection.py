"""One connection to the HTTP API: requests, streams, and errors of our own."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from typing import Any, Self

import httpx

from common.errors import DCloudError, Problem

ROOT = "/api/v1"
TIMEOUT_SECONDS = 15.0
QUIET_SECONDS = 40.0  # a live answer pings every 15 s; longer silence is a lost connection
PATIENCE_SECONDS = 60.0  # how long a watcher bears a server that cannot be reached

Json = dict[str, Any]


class ApiError(DCloudError):
    """The server refused. `status` is HTTP's; `problems` says what is wrong with a document, with paths."""

    def __init__(self, status: int, detail: str, problems: list[Problem]):
        self.status = status
        self.problems = problems
        super().__init__(detail)


class Unreachable(DCloudError):
    """The server cannot be reached, or something behind it is away."""


class Connection:
    """A connection to one server with one token. Safe to share between threads; close it, or use it by `with`."""

    def __init__(self, url: str, token: str):
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})},
            timeout=TIMEOUT_SECONDS,
            trust_env=not _is_loopback(self.url),  # a proxy cannot reach this machine's own addresses
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pages(self, path: str, name: str, **query: str) -> Iterator[Json]:
        """Everything in the lists called `name` of all pages."""
        query = {"limit": "100", "cursor": "", **query}
        while True:
            page = self._json("GET", path, params=query)
            yield from page[name]
            if not page["next"]:
                return
            query["cursor"] = page["next"]

    def _server_sent(self, path: str, after: str) -> Iterator[tuple[str, Json]]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": after}
        with self._stream("GET", path, headers=headers, read_seconds=QUIET_SECONDS) as response:
            entry_id, data = "", ""
            for line in translated(response.iter_lines()):
                name, _, value = line.partition(":")
                if name == "id":
                    entry_id = value.strip()
                elif name == "data":
                    data = value
                elif not line and data:
                    yield entry_id, json.loads(data)
                    entry_id, data = "", ""

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

    def __init__(self, client: Connection, request: httpx.Request):
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


def translated(parts: Iterator[Any]) -> Iterator[Any]:
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
