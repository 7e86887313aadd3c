"""Commands inside an environment: one channel a command, its output live, its input by small posts."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, jsonify

from api import bodies, remote, streams, wire
from api.auth import owned
from api.idempotency import idempotent
from api.openapi.described import AFTER, IDEMPOTENCY_KEY, LAST_EVENT_ID, described
from api.services import services
from common import channel
from common.channel import ClientEnd, Input, Output
from common.errors import ChannelClosed, ContractError, NotFound, Problem

blueprint = Blueprint("channels", __name__)

MAX_ARGUMENTS = 256
MAX_COMMAND_CHARACTERS = 32 * 1024
MAX_ROWS_COLS = 2000
MAX_SEQ = 2**53


@blueprint.post("/environments/<env_id>/exec")
@idempotent()
@described("Channel", 201, body="Command", parameters=(IDEMPOTENCY_KEY,), headers=("Location",), refuses=(409,))
def begin(env_id: str) -> Response:
    """Run a command inside a running environment."""
    found, command = owned(env_id), _command(bodies.json_object())
    end = remote.ask(found, "exec", **command)
    at = f"{wire.ROOT}/channels/{end.channel}"
    response = jsonify({"channel": end.channel, "links": {"output": f"{at}/output", "input": f"{at}/input"}})
    return Response(response.data, 201, {"Location": at}, content_type="application/json")


@blueprint.get("/channels/<channel_id>/output")
@described("Text", answer_types=("text/event-stream",), parameters=(AFTER, LAST_EVENT_ID), refuses=(410,))
def output(channel_id: str) -> Response:
    """What the command writes, live: {"kind": "out", "data": base64} and at last exit or error."""
    end, after = _end(channel_id), streams.resume_after()
    return streams.response(_live(end, after, end.read(after, 0.001)))


@blueprint.post("/channels/<channel_id>/input")
@described(None, 204, body="Input", refuses=(410,))
def give(channel_id: str) -> Response:
    """One thing for the command, with a number `seq` that rises: what was sent twice counts once."""
    end, body = _end(channel_id), bodies.json_object()
    end.say(_input(body), _whole(body, "seq", MAX_SEQ))
    return Response(status=204)


@blueprint.delete("/channels/<channel_id>")
@described(None, 204, refuses=(410,))
def hang_up(channel_id: str) -> Response:
    """End the command."""
    _end(channel_id).close()
    return Response(status=204)


def _end(channel_id: str) -> ClientEnd:
    match = channel.ID.fullmatch(channel_id)
    if match is None:
        raise NotFound("There is no such channel.")
    owned(match[1])
    return ClientEnd(services().bytes_redis, services().keys, channel_id)


def _live(end: ClientEnd, after: str, first: list[Output]) -> Iterator[str]:
    yield streams.OPENING
    until, quiet_since, found = time.monotonic() + streams.LIFE_SECONDS, time.monotonic(), first
    while time.monotonic() < until:
        for entry in found:
            after, quiet_since = entry.id, time.monotonic()
            yield streams.message(_wire(entry), entry.id)
            if entry.last:
                return
        if time.monotonic() - quiet_since >= streams.PING_SECONDS:
            quiet_since = time.monotonic()
            yield streams.PING
        try:
            found = end.read(after)
        except ChannelClosed as error:
            yield streams.message({"kind": "error", "message": str(error)})
            return


def _wire(entry: Output) -> dict[str, Any]:
    if entry.kind == "exit":
        return {"kind": "exit", "code": entry.code}
    if entry.kind == "error":
        return {"kind": "error", "message": entry.data.decode(errors="replace")}
    return {"kind": entry.kind, "data": base64.b64encode(entry.data).decode()}


def _input(body: dict[str, Any]) -> Input:
    """{"data": base64} for the standard input, {"close": true} to end it, or {"rows", "cols"} of the terminal."""
    if "data" in body:
        return Input("in", _decoded(body["data"]))
    if body.get("close") is True:
        return Input("in")
    return Input("resize", b"", _whole(body, "rows", MAX_ROWS_COLS), _whole(body, "cols", MAX_ROWS_COLS))


def _command(body: dict[str, Any]) -> dict[str, Any]:
    command, tty = body.get("command"), body.get("tty", False)
    if not isinstance(command, list) or not 1 <= len(command) <= MAX_ARGUMENTS:
        raise _wrong("command", f'must be a list of 1 to {MAX_ARGUMENTS} strings, as in ["python", "-V"].')
    for index, word in enumerate(command):
        if not isinstance(word, str) or "\0" in word:
            raise _wrong(f"command[{index}]", "must be a string without NUL.")
    if not command[0] or sum(len(word) for word in command) > MAX_COMMAND_CHARACTERS:
        raise _wrong("command", f"must begin with a program and have at most {MAX_COMMAND_CHARACTERS} characters.")
    if not isinstance(tty, bool):
        raise _wrong("tty", "must be true or false.")
    return {
        "command": command,
        "tty": tty,
        "rows": _whole(body, "rows", MAX_ROWS_COLS) if "rows" in body else 24,
        "cols": _whole(body, "cols", MAX_ROWS_COLS) if "cols" in body else 80,
    }


def _whole(body: dict[str, Any], name: str, most: int) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise _wrong(name, f"must be a whole number between 1 and {most}.")
    return value


def _decoded(text: object) -> bytes:
    try:
        data = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise _wrong("data", "must be base64.") from None
    if not 1 <= len(data) <= channel.CHUNK_BYTES:
        raise _wrong("data", f"has {len(data)} bytes; between 1 and {channel.CHUNK_BYTES} are accepted at once.")
    return data


def _wrong(path: str, message: str) -> ContractError:
    return ContractError([Problem(path, message)])
