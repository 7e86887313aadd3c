"""Where webhooks may go, how they are signed, and what is told."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from api.webhooks.addresses import Forbidden, networks, parsed, resolved
from api.webhooks.sending import signature
from common.environment import Event
from common.errors import SettingsError
from common.states import State
from common.webhooks import Webhook, owed


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    asked: list[str] = []

    def answer(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


PRIVATE = [
    "127.0.0.1", "127.9.9.9", "0.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "fec0::1", "fe80::1%eth0",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    resolves_to(monkeypatch, "93.184.215.14", address)
    with pytest.raises(Forbidden, match="no public address"):
        resolved("https://example.org/x", ())


@pytest.mark.parametrize("address", [address for address in PRIVATE if "%" not in address])
def test_a_private_address_is_refused_before_it_is_kept(address: str) -> None:
    with pytest.raises(ValueError, match="no public address"):
        parsed(f"https://{f'[{address}]' if ':' in address else address}/x", ())


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "a.localhost"])
def test_localhost_is_this_machine(name: str) -> None:
    with pytest.raises(ValueError, match="no public address"):
        parsed(f"http://{name}/", ())


@pytest.mark.parametrize("name", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
def test_odd_ways_to_write_an_address_are_seen_when_resolved(name: str) -> None:
    with pytest.raises(Forbidden):
        resolved(f"http://{name}/", ())


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "/x", "ftp://example.org/", "file:///etc/passwd", "https://", "https://user@example.org/",
        "https://user:pass@example.org/", "https://example.org/#x", "https://example.org:99999/",
        "https://exa mple.org/",
        "https://example.org\\@127.0.0.1/", "https://example.org/\r\nX: y", "https://exämple.org/", "https://[::1/",
        "https://example.org/" + "x" * 2000,
    ],
)  # fmt: skip
def test_what_is_no_address_for_a_webhook(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) "):
        parsed(url, ())


def test_a_name_is_resolved_once_and_the_connection_goes_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolves_to(monkeypatch, "93.184.215.14")
    target = resolved("https://example.org:8443/hook?a=1", ())
    assert asked == ["example.org"]
    assert (target.ip, target.authority, target.path) == ("93.184.215.14", "example.org:8443", "/hook?a=1")


def test_networks_that_the_operator_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = networks("10.0.0.0/8, fc00::/7")
    resolves_to(monkeypatch, "10.1.2.3", "fc00::1")
    assert resolved("http://ci.lab/", allowed).ip == "10.1.2.3"
    resolves_to(monkeypatch, "10.1.2.3", "192.168.0.1")
    with pytest.raises(Forbidden):
        resolved("http://ci.lab/", allowed)
    with pytest.raises(SettingsError, match="DCLOUD_WEBHOOK_ALLOW"):
        networks("10.0.0.1/8")


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the specification's reference implementation."""
    found = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def event(number: int, state: State, at: float = 100.0) -> Event:
    return Event(f"{number}-0", at, state, 0, "", "", "", "h")


def test_each_step_into_a_wanted_state_is_told_once() -> None:
    hook = Webhook("h", "ada", "https://example.org/", ("building", "running"), "whsec_", 50.0)
    states = [State.QUEUED, State.BUILDING, State.BUILDING, State.RUNNING, State.STOPPED, State.QUEUED, State.RUNNING]
    events = [event(number, state) for number, state in enumerate(states)]
    found = owed([hook], "e", "lab", events, "", str)
    assert len({delivery.id for delivery in found}) == 3
    assert [delivery.id for delivery in owed([hook], "e", "lab", events[2:], "building", str)] == [
        delivery.id for delivery in found[1:]
    ]
    assert owed([hook], "e", "lab", [event(1, State.RUNNING, at=49.0)], "", str) == []  # before it was there
