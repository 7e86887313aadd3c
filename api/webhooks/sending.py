"""Sending one message: signed, to the address that was checked, without redirects, and without waiting for long."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import httpx

from api.webhooks.addresses import Network, resolved
from common.webhooks import Delivery, Webhook

TIMEOUT_SECONDS = 15.0
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
        httpx.Client(trust_env=False, timeout=TIMEOUT_SECONDS, follow_redirects=False) as client,
        client.stream("POST", url, content=body, headers=headers, extensions={"sni_hostname": target.host}) as response,
    ):
        return response.status_code  # what it says beyond that is not read


def signature(secret: str, message_id: str, stamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
