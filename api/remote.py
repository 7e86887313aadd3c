"""Asking the worker that has an environment's container."""

from __future__ import annotations

from typing import Any

from api.problems import Refused
from api.services import services
from common.channel import ClientEnd
from common.environment import Environment
from common.errors import ChannelClosed
from common.states import State


def ask(found: Environment, op: str, **request: Any) -> ClientEnd:
    """The channel on which the worker does `op` ("exec" or "logs"). Raises Refused: 409 not running, 503 no answer."""
    if found.state is not State.RUNNING:
        raise Refused(409, f"{found.name} is {found.state}; only a running environment can do this. Start it first.")
    try:
        return open_on(found.host, {"op": op, "env": found.id, "owner": found.owner, **request})
    except ChannelClosed as error:
        raise Refused(503, str(error)) from None


def open_on(host: str, request: dict[str, Any]) -> ClientEnd:
    """The channel on which the worker of `host` does what `request` says. Raises ChannelClosed."""
    parts = services()
    return ClientEnd.open(parts.bytes_redis, parts.keys, host, request)
