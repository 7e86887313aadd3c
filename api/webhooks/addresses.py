"""Where a webhook may be sent: to public addresses, and to networks that the operator allows.

A name is resolved once, all that it resolves to must be allowed, and the connection goes to one of those: a name that
means something else a moment later gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from common.errors import DCloudError, SettingsError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL = 2000
# Addresses that stand for IPv4 ones somewhere else: NAT64, 6to4, Teredo.
_TRANSLATED = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))


class Forbidden(DCloudError):
    """A webhook may not be sent there."""


@dataclass(frozen=True)
class Target:
    """A checked address: the URL's parts, and the IP to connect to."""

    scheme: str
    host: str
    port: int
    path: str  # with the query
    ip: str = ""

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == {"http": 80, "https": 443}[self.scheme] else f"{name}:{self.port}"


def networks(text: str) -> tuple[Network, ...]:
    """The networks in DCLOUD_WEBHOOK_ALLOW. Raises SettingsError."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"DCLOUD_WEBHOOK_ALLOW: {error}. Write networks as in 10.0.0.0/8.") from None


def parsed(url: str, allowed: tuple[Network, ...]) -> Target:
    """The parts of a URL, checked as far as can be without resolving its name. Raises ValueError, a sentence's end."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError(f"is not a URL of at most {MAX_URL} plain characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("is not a URL that begins with https:// or http:// and a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("has a user, a password or a fragment, which a webhook does not take")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = Target(parts.scheme, parts.hostname, port or {"http": 80, "https": 443}[parts.scheme], path)
    try:
        _check(ipaddress.ip_address(target.host), allowed)
    except Forbidden as error:
        raise ValueError(str(error)) from None
    except ValueError:
        if target.host == "localhost" or target.host.endswith(".localhost"):
            for ip in ("127.0.0.1", "::1"):
                _check_text(ip, allowed)
    return target


def resolved(url: str, allowed: tuple[Network, ...]) -> Target:
    """The target with the IP to connect to. Raises Forbidden, also where the name cannot be resolved."""
    try:
        target = parsed(url, allowed)
    except ValueError as error:
        raise Forbidden(f"The URL {error}.") from None
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Forbidden(f"{target.host} cannot be resolved: {error}") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for text in addresses:
        _check(ipaddress.ip_address(text.partition("%")[0]), allowed)
    return Target(target.scheme, target.host, target.port, target.path, addresses[0])


def _check_text(text: str, allowed: tuple[Network, ...]) -> None:
    try:
        _check(ipaddress.ip_address(text), allowed)
    except Forbidden as error:
        raise ValueError(str(error)) from None


def _check(ip: Address, allowed: tuple[Network, ...]) -> None:
    plain = ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip
    if any(plain.version == network.version and plain in network for network in allowed):
        return
    translated = any(plain.version == network.version and plain in network for network in _TRANSLATED)
    local = isinstance(plain, ipaddress.IPv6Address) and plain.is_site_local  # given up, and still routed somewhere
    if not plain.is_global or plain.is_multicast or plain.is_reserved or plain.is_unspecified or translated or local:
        raise Forbidden(f"leads to {ip}, which is no public address; an operator can allow its network")
