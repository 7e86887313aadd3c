"""Firewall rules are a function of what is to stay reachable."""

from __future__ import annotations

import ipaddress

import pytest

from common.errors import SettingsError
from workers.network import allowances, inward, ledger, outward


def verdict(rules: list[tuple[str, ...]], address: str, port: int) -> str:
    """What becomes of a new TCP connection, read as iptables reads it."""
    for rule in rules:
        options = dict(zip(rule[::2], rule[1::2], strict=True))
        if "--ctstate" in options:
            continue
        if "-d" in options and ipaddress.ip_address(address) not in ipaddress.ip_network(options["-d"]):
            continue
        if options.get("-p", "tcp") != "tcp" or options.get("--dport", str(port)) != str(port):
            continue
        return options["-j"]
    return "RETURN"


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "172.17.0.1", "172.31.255.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "127.0.0.1"]
)
def test_private_and_link_local_addresses_are_closed(address: str) -> None:
    assert verdict(outward([]), address, 80) == "DROP"


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "169.253.0.1", "192.1.1.1"])
def test_the_internet_is_open(address: str) -> None:
    assert verdict(outward([]), address, 443) == "RETURN"


def test_redis_is_closed_even_at_a_public_address_that_is_open() -> None:
    redis, here = ledger("redis://:x@8.8.8.8/0")
    assert here == []
    for rules in (outward(allowances("8.8.8.8"), redis), inward(allowances("8.8.8.8"), redis)):
        assert verdict(rules, "8.8.8.8", 6379) == "DROP"
        assert verdict(rules, "8.8.8.8", 443) == "RETURN"


def test_redis_of_this_host_is_closed_on_each_of_its_addresses() -> None:
    redis, here = ledger("redis://:x@127.0.0.1:6380/0")
    assert redis == []
    rules = inward(allowances("10.0.0.0/8"), here)
    assert verdict(rules, "10.0.0.5", 6380) == "DROP"
    assert verdict(rules, "10.0.0.5", 443) == "RETURN"


def test_the_host_is_closed_altogether() -> None:
    for address in ("10.0.0.1", "8.8.8.8"):
        assert verdict(inward([]), address, 6379) == "DROP"


def test_an_operator_opens_single_ports_and_networks() -> None:
    allowed = allowances("10.1.2.3:5000, 10.9.0.0/16")
    rules = outward(allowed)
    assert verdict(rules, "10.1.2.3", 5000) == "RETURN"
    assert verdict(rules, "10.1.2.3", 5001) == "DROP"
    assert verdict(rules, "10.9.200.1", 22) == "RETURN"
    assert verdict(rules, "10.10.0.1", 22) == "DROP"
    assert verdict(inward(allowed), "10.1.2.3", 5000) == "RETURN"


@pytest.mark.parametrize(
    "text", ["nowhere", "10.0.0.1:0", "10.0.0.1:99999", "10.0.0.1:x", "::1", "10.0.0.0/33", "-j ACCEPT"]
)
def test_nonsense_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="DCLOUD_NETWORK_ALLOW"):
        allowances(text)
