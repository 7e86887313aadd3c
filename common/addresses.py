"""What an address on the web means for whoever wants to ask it."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit


def parts(url: str) -> SplitResult:
    """What `url` is made of, whoever sent it; of what is no address at all, nothing."""
    try:
        return urlsplit(url)
    except ValueError:  # as of `//[`
        return SplitResult("", "", "", "", "")


def is_loopback(url: str) -> bool:
    """Whether `url` is on this machine, where no proxy reaches and nobody listens on the way."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
