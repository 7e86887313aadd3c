"""A host takes only what it makes the system of: the operating system and the version of the language."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from ledger_parts import A100, OneHost, wants

from common.contract import Contract, Image
from common.errors import LedgerError, NeverFits
from common.inventory import Offer
from common.ledger import Ledger

pytest_plugins = ["ledger_fixtures"]

BOOKWORM = Offer("debian", "12", "python", ("3.11", "3.12"))
TRIXIE = Offer("debian", "13", "python", ("3.13",))


def on(version: str, python: str, **what: Any) -> Contract:
    """A contract for a Debian and a Python."""
    return replace(wants(**what), os=Image("debian", version), language=Image("python", python))


def test_a_host_leaves_what_it_does_not_make_to_one_that_does(ledger: Ledger) -> None:
    old, new = OneHost(ledger, "old", offers=(BOOKWORM,)), OneHost(ledger, "new", offers=(TRIXIE, BOOKWORM))
    assert (old.claim(), new.claim()) == (None, None)
    ledger.submit("e1", "ann", on("13", "3.13"))
    assert (old.woken, new.woken) == (False, True)
    assert old.claim() is None
    assert new.claim().id == "e1"


def test_it_does_not_stand_in_the_way_of_what_the_host_makes(ledger: Ledger) -> None:
    host = OneHost(ledger, offers=(BOOKWORM,))
    ledger.submit("e1", "ann", on("13", "3.13", wait=True))
    ledger.submit("e2", "ann", on("12", "3.12"))
    assert host.claim().id == "e2"
    assert host.claim() is None


def test_a_patch_of_an_offered_version_is_made(ledger: Ledger) -> None:
    host = OneHost(ledger, offers=(BOOKWORM,))
    ledger.submit("e1", "ann", on("12", "3.11.2"))
    ledger.submit("e2", "ann", on("12", "3.1", wait=True))
    assert host.claim().id == "e1"
    assert host.claim() is None


def test_a_host_that_says_nothing_takes_all(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", on("13", "3.13"))
    assert host.claim().id == "e1"


def test_another_catalogue_counts_from_when_it_is_told(ledger: Ledger) -> None:
    host = OneHost(ledger, offers=(BOOKWORM,))
    ledger.submit("e1", "ann", on("13", "3.13", wait=True))
    assert host.claim() is None
    assert OneHost(ledger, offers=(BOOKWORM, TRIXIE)).claim().id == "e1"


def test_what_has_its_storage_on_a_host_starts_there_again(ledger: Ledger) -> None:
    host = OneHost(ledger, offers=(TRIXIE,))
    ledger.submit("e1", "ann", on("13", "3.13"))
    host.run(host.claim())
    host.stop("e1")
    host = OneHost(ledger, instance="next", offers=(BOOKWORM,))
    ledger.start("e1")
    explained = ledger.explain("e1")
    assert explained["verdict"] == "now"
    assert "system" not in explained["hosts"][0]
    assert host.claim().id == "e1"


def test_explain_says_which_host_does_not_make_it(ledger: Ledger) -> None:
    OneHost(ledger, "old", offers=(BOOKWORM,))
    small = OneHost(ledger, "small", offers=(TRIXIE,), cpu_milli=1000)
    ledger.submit("e1", "ann", on("13", "3.13"))
    small.run(small.claim())
    ledger.submit("e2", "ann", on("13", "3.13"))
    explained = ledger.explain("e2")
    old, other = explained["hosts"]
    assert explained["verdict"] == "wait"
    assert (old["host"], old["ever"], old["system"]) == ("old", False, "debian 13 python 3.13")
    assert other["ever"]
    assert "system" not in other


def test_what_no_host_makes_is_refused(ledger: Ledger) -> None:
    OneHost(ledger, offers=(BOOKWORM,))
    with pytest.raises(NeverFits) as refused:
        ledger.submit("e1", "ann", on("13", "3.13"))
    assert refused.value.nearest is None
    ledger.submit("e1", "ann", on("13", "3.13", wait=True))
    explained = ledger.explain("e1")
    assert (explained["verdict"], explained["nearest"]) == ("never", None)


def test_the_nearest_is_of_a_host_that_makes_it(ledger: Ledger) -> None:
    OneHost(ledger, "gpus", gpus=A100, offers=(BOOKWORM,))
    OneHost(ledger, "none", offers=(TRIXIE,))
    with pytest.raises(NeverFits) as refused:
        ledger.submit("e1", "ann", on("13", "3.13", gpu="1"))
    assert refused.value.nearest is not None
    assert refused.value.nearest["gpus"] == 0


def test_no_host_drains_for_what_it_does_not_make(ledger: Ledger) -> None:
    ledger.configure(starve_seconds=0.001)
    old, new = OneHost(ledger, "old", offers=(BOOKWORM,)), OneHost(ledger, "new", offers=(TRIXIE,))
    for number, version, python in ((1, "12", "3.11"), (2, "13", "3.13")):
        ledger.submit(f"e{number}", "ann", on(version, python, cpu="8"))
    assert (old.claim().id, new.claim().id) == ("e1", "e2")
    ledger.submit("e3", "bob", on("13", "3.13"))
    time.sleep(0.01)
    ledger.expire()
    assert ledger.redis.hgetall(f"{ledger.keys.prefix}:reserved") == {"e3": "new"}


@pytest.mark.parametrize(
    "offer",
    [
        replace(BOOKWORM, os="debian 12"),
        replace(BOOKWORM, version=""),
        replace(BOOKWORM, language_versions=("3.11;",)),
        replace(BOOKWORM, os=12),
    ],
)
def test_an_offer_that_makes_no_sense_is_refused(ledger: Ledger, offer: Offer) -> None:
    with pytest.raises(LedgerError, match="the inventory of host h1 makes no sense"):
        OneHost(ledger, offers=(offer,))
    assert ledger.hosts() == []
