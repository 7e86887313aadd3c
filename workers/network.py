"""The network of environments: one bridge of ours on a host, and firewall rules around it.

Environments reach the internet, the machine's resolver, and the proxies and package indexes that it is
configured with; neither each other nor the host, its other bridges, link-local addresses or private ranges.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common.errors import DCloudError, SettingsError
from common.settings import Settings
from workers.engine import PREFIX, Engine
from workers.filelocks import held
from workers.sources import Sources

# Addresses that are somebody's own: private, carrier's, link-local (cloud metadata), loopback, multicast, reserved.
CLOSED = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
    "127.0.0.0/8", "0.0.0.0/8", "192.0.0.0/24", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
RESOLVER_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
REDIS_PORT = 6379
TIMEOUT_SECONDS = 30
GOOD_SECONDS = 30.0  # a firewall that is loaded anew loses our rules; they are looked at again after so long

BRIDGE = "com.docker.network.bridge.name"
TRAFFIC_BETWEEN = "com.docker.network.bridge.enable_icc"

# Connections that one environment may have at once. The kernel's table of them is everybody's (often 262,144), and
# one that is full lets nobody connect any more, the host included.
CONNECTIONS = 8192
_NEW: tuple[str, ...] = ("-m", "conntrack", "--ctstate", "NEW", "-m", "connlimit")
TOO_MANY = (*_NEW, "--connlimit-above", str(CONNECTIONS), "--connlimit-mask", "32", "-j", "DROP")

Rule = tuple[str, ...]


class Network:
    """The bridge of one installation (a key prefix) on this machine."""

    def __init__(self, settings: Settings, engine: Engine, sources: Sources):
        suffix = hashlib.sha256(settings.key_prefix.encode()).hexdigest()[:8]
        self.name = "dcloud" if settings.key_prefix == "dcloud" else f"dcloud-{suffix}"
        self.bridge = f"dcl-{suffix}"
        self.settings = settings
        self.engine = engine
        self.sources = sources
        self._lock_path = settings.data_dir / "locks" / f"network-{suffix}"
        self._good_until = 0.0

    def ready(self) -> str:
        """The network's name, with the bridge and its rules in place."""
        if time.monotonic() > self._good_until or not Path(f"/sys/class/net/{self.bridge}").exists():
            self.ensure()
        return self.name

    def ensure(self) -> None:
        """Make the bridge and its rules where they are missing. Raises DCloudError."""
        with held(self._lock_path):
            options = {BRIDGE: self.bridge, TRAFFIC_BETWEEN: "false"}
            if self.engine.network(self.name) is None:
                labels = {PREFIX: self.settings.key_prefix}
                self.engine.create_network(self.name, options, self.settings.network_subnet, labels)
            self._check(self.engine.network(self.name) or {}, options)
            self._apply()
        self._good_until = time.monotonic() + GOOD_SECONDS

    def remove(self) -> None:
        """Remove bridge and rules. Raises EngineError where containers are attached."""
        with held(self._lock_path):
            self.engine.remove_network(self.name)
            for parent, chain in (("DOCKER-USER", self._chain("OUT")), ("INPUT", self._chain("IN"))):
                if _iptables("-C", parent, *self._jump(chain)):
                    _iptables("-D", parent, *self._jump(chain))
                _iptables("-F", chain)
                _iptables("-X", chain)
        self._good_until = 0.0

    def _check(self, found: dict[str, Any], options: dict[str, str]) -> None:
        """Whether the rules are about this network. Raises DCloudError."""
        if options.items() <= (found.get("Options") or {}).items() and not found.get("EnableIPv6"):
            return
        raise DCloudError(
            f"The engine's network {self.name} is not as DCloud makes it, and nothing would shield what is in it. "
            f"Remove it (docker network rm {self.name}), or set another DCLOUD_KEY_PREFIX; it may have no IPv6."
        )

    def _apply(self) -> None:
        """Both chains as they should be, in one step each, and one jump to each."""
        allowed, (elsewhere, here) = self.allowed(), ledger(self.settings.redis_url)
        for parent, chain, rules in (
            ("DOCKER-USER", self._chain("OUT"), outward(allowed, elsewhere)),
            ("INPUT", self._chain("IN"), inward(allowed, [*elsewhere, *here])),
        ):
            lines = ["*filter", f":{chain} - [0:0]", *(f"-A {chain} {' '.join(rule)}" for rule in rules), "COMMIT", ""]
            _restore("\n".join(lines))
            if not _iptables("-C", parent, *self._jump(chain)) and not _iptables("-I", parent, "1", *self._jump(chain)):
                raise DCloudError(f"iptables does not take a rule in {parent}. `iptables -L {parent}` says why.")

    def allowed(self) -> list[Rule]:
        """What stays reachable in closed ranges: matches of a destination."""
        rules: list[Rule] = []
        for address in _resolvers():
            rules += [("-d", address, "-p", "udp", "--dport", "53"), ("-d", address, "-p", "tcp", "--dport", "53")]
        for host, port in self.sources.endpoints:
            rules += [("-d", address, "-p", "tcp", "--dport", str(port)) for address in _addresses(host)]
        rules += allowances(self.settings.network_allow)
        return list(dict.fromkeys(rules))

    def _chain(self, direction: str) -> str:
        return f"{self.bridge.upper()}-{direction}"

    def _jump(self, chain: str) -> Rule:
        return ("-i", self.bridge, "-m", "comment", "--comment", "environments of dcloud", "-j", chain)


def outward(allowed: Sequence[Rule], shut: Sequence[Rule] = ()) -> list[Rule]:
    """From an environment through the host to anywhere."""
    answers: Rule = ("-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "RETURN")
    opened = [(*rule, "-j", "RETURN") for rule in allowed]
    closed = [("-d", network, "-j", "DROP") for network in CLOSED]
    return [answers, TOO_MANY, *((*rule, "-j", "DROP") for rule in shut), *opened, *closed]


def inward(allowed: Sequence[Rule], shut: Sequence[Rule] = ()) -> list[Rule]:
    """From an environment to the host itself."""
    answers: Rule = ("-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "RETURN")
    refused = [(*rule, "-j", "DROP") for rule in shut]
    return [answers, TOO_MANY, *refused, *((*rule, "-j", "RETURN") for rule in allowed), ("-j", "DROP")]


def ledger(redis_url: str) -> tuple[list[Rule], list[Rule]]:
    """Redis, which stays closed whatever is opened: matches of where it is, and of this host's own addresses.

    Where it is reached by the loopback it may listen on any address of this host.
    """
    parts = urlsplit(redis_url)
    if not parts.hostname:
        return [], []
    port: Rule = ("-p", "tcp", "--dport", str(parts.port or REDIS_PORT))
    addresses = _addresses(parts.hostname)
    return [("-d", address, *port) for address in addresses], [] if addresses else [port]


def allowances(text: str) -> list[Rule]:
    """`network_allow` as matches. Raises SettingsError."""
    rules: list[Rule] = []
    for entry in text.replace(",", " ").split():
        address, colon, port = entry.rpartition(":") if ":" in entry else (entry, "", "")
        try:
            network = str(ipaddress.IPv4Network(address, strict=False))
            if colon and not 0 < int(port) < 65536:
                raise ValueError(port)
        except ValueError:
            raise SettingsError(
                f"DCLOUD_NETWORK_ALLOW has {entry!r}; write addresses or networks, each with or without a port, "
                "as in 10.1.2.3:5000 or 10.9.0.0/16."
            ) from None
        rules.append(("-d", network, "-p", "tcp", "--dport", port) if colon else ("-d", network))
    return rules


def _resolvers() -> list[str]:
    found = []
    for file in RESOLVER_FILES:
        lines = file.read_text().splitlines() if file.exists() else []
        for line in lines:
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver" and ":" not in words[1]:
                found.append(words[1])
    return [address for address in dict.fromkeys(found) if not address.startswith("127.")]


def _addresses(host: str) -> list[str]:
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)}
    except OSError:
        return []
    return sorted(address for address in found if not address.startswith("127."))


def _iptables(*arguments: str) -> bool:
    """Whether the call succeeded."""
    try:
        done = subprocess.run(["iptables", "-w", *arguments], check=False, capture_output=True, timeout=TIMEOUT_SECONDS)
    except FileNotFoundError:
        raise DCloudError("iptables is missing on this host. Install it: apt-get install iptables") from None
    return done.returncode == 0


def _restore(text: str) -> None:
    try:
        subprocess.run(
            ["iptables-restore", "-w", "--noflush"],
            input=text, check=True, capture_output=True, text=True, timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
    except FileNotFoundError:
        raise DCloudError("iptables is missing on this host. Install it: apt-get install iptables") from None
    except subprocess.CalledProcessError as error:
        raise DCloudError(f"iptables does not take the rules that shield this host: {error.stderr.strip()}") from None
