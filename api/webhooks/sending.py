"""Sending one message: signed, to the address that was checked, without redirects, and without waiting for long."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from api.webhooks.addresses import Network, resolved
from common.webhooks import Delivery, Webhook

TIMEOUT_SECONDS = 15.0  # to connect, and between two pieces of an answer
WHOLE_SECONDS = 45.0  # for all of it: whoever answers a byte at a time holds up nobody else's messages
GONE = 410  # by Standard Webhooks: send no more


def send(delivery: Delivery, hook: Webhook, allowed: tuple[Network, ...]) -> int:
    """The status that the receiver answered. Raises Forbidden, httpx.HTTPError."""
    target = resolved(hook.url, allowed)
    body, stamp = delivery.body.encode(), int(time.time())
    headers = {
        "Host": target.authority,
        "Content-Type": "application/json",
        "User-Agent": "DCloud",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": signature(hook.secret, delivery.id, stamp, body),
    }
    ip = f"[{target.ip}]" if ":" in target.ip else target.ip
    url = f"{target.scheme}://{ip}:{target.port}{target.path}"
    # no proxy: it would resolve the name again, and connect to where it likes
    with (
        _in_time() as trace,
        httpx.Client(trust_env=False, timeout=TIMEOUT_SECONDS, follow_redirects=False) as client,
        client.stream(
            "POST", url, content=body, headers=headers, extensions={"sni_hostname": target.host, "trace": trace}
        ) as response,
    ):
        return response.status_code  # what it says beyond that is not read


def signature(secret: str, message_id: str, stamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


@contextmanager
def _in_time() -> Iterator[Any]:
    """What the client tells of its connection, so that it is shut down when the time is up."""
    held: list[socket.socket] = []

    def trace(event: str, info: dict[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            held.append(info["return_value"].get_extra_info("socket"))

    def end() -> None:
        with suppress(OSError, IndexError):  # gone already, or not there yet
            held[-1].shutdown(socket.SHUT_RDWR)  # whoever reads from it sees an end

    timer = threading.Timer(WHOLE_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield trace
    finally:
        timer.cancel()
