"""Commands inside an environment, from Python."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator

import httpx

from api.client.connection import PATIENCE_SECONDS, ApiError, Connection, Json, Unreachable

INPUT_BYTES = 16 * 1024  # what the server takes at once


class Channels(Connection):
    """What a client can do inside."""

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
