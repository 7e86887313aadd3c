"""What can be chosen, put together from what hosts say."""

from __future__ import annotations

from typing import Any

import pytest

from api.catalog import offered
from common import contract
from common.inventory import Gpu, Host, Inventory, Offer
from common.settings import Settings
from workers import catalogue

A100 = tuple(Gpu(f"GPU-{n}", "NVIDIA A100-SXM4-80GB", 81_920, healthy=n != 3) for n in range(4))
DEBIAN = Offer("debian", "12", "python", ("3.11",), "Debian 12 (bookworm)", ("", "slim"))


def host(name: str = "h", state: str = "ready", free_gpus: tuple[str, ...] = (), **changed: Any) -> Host:
    """A host of 8 cores of which half of everything is free."""
    what = {"cpu_milli": 8000, "ram_mib": 16_000, "storage_mib": 100_000, "offers": (DEBIAN,), **changed}
    inventory = Inventory(**what)
    return Host(
        name, state, 1, 0.0, inventory, inventory.cpu_milli // 2, inventory.ram_mib // 2, inventory.storage_mib // 2,
        free_gpus, changed.get("overcommitted", False), (),
    )  # fmt: skip


def test_no_host_offers_nothing_but_the_defaults() -> None:
    found = offered([])
    assert (found["systems"], found["gpus"]) == ([], [])
    assert found["largest"]["now"] == {"cpu_milli": 0, "ram_mib": 0, "storage_mib": 0, "gpus": 0, "together": []}
    assert contract.parse(found["defaults"]) == contract.parse({})


def test_what_live_hosts_offer_is_put_together() -> None:
    more = (Offer("debian", "9", "python", ("3.5",)), Offer("debian", "12", "python", ("3.9", "3.11", "3.10")))
    found = offered([host(), host("b", "draining", offers=more), host("c", "lost", offers=(Offer("x", "1", "y", ()),))])
    assert [(system["version"], system["languages"]) for system in found["systems"]] == [
        ("9", [{"image-name": "python", "versions": ["3.5"]}]),
        ("12", [{"image-name": "python", "versions": ["3.9", "3.10", "3.11"]}]),
    ]
    assert found["hosts"] == {"ready": 1, "draining": 1, "lost": 1}


def test_gpus_are_counted_by_model_and_asked_for_in_the_contracts_own_words() -> None:
    small = (Gpu("GPU-9", "NVIDIA T4 (rev/2)", 15_360),)
    hosts = [
        host("a", gpus=A100, free_gpus=("GPU-0", "GPU-1")),
        host("b", "draining", gpus=A100[:1], free_gpus=("GPU-0",)),
        host("c", gpus=small, free_gpus=("GPU-9",)),
    ]
    t4, a100 = offered(hosts)["gpus"]
    assert (a100["total"], a100["free"], a100["largest"]) == (4, 2, {"now": 2, "ever": 3})  # one is sick, one drains
    assert contract.gpus(f"{a100['request']}:2") == contract.Gpus(2, "NVIDIA A100-SXM4-80GB", 81_920)
    assert contract.gpus(f"{t4['request']}:1") == contract.Gpus(1, "", 15_360)  # its name is none that a contract takes


def test_the_largest_request_alone_and_together() -> None:
    wide = host("wide", cpu_milli=64_000, ram_mib=8000)
    found = offered([host(), wide, host("small", cpu_milli=2000, ram_mib=4000, storage_mib=10)])["largest"]
    assert (found["now"]["cpu_milli"], found["now"]["ram_mib"]) == (32_000, 8000)
    assert found["now"]["together"] == [
        {"cpu_milli": 32_000, "ram_mib": 4000, "storage_mib": 50_000, "gpus": 0},
        {"cpu_milli": 4000, "ram_mib": 8000, "storage_mib": 50_000, "gpus": 0},
    ]
    assert (found["ever"]["cpu_milli"], found["ever"]["ram_mib"]) == (64_000, 16_000)


def test_what_takes_nothing_now_counts_for_later_alone() -> None:
    hosts = [host("a", "draining"), host("b", "lost"), host("c", storage_limit="", storage_mib=500_000, cpu_milli=10)]
    found = offered(hosts)["largest"]
    assert (found["now"]["cpu_milli"], found["ever"]["cpu_milli"]) == (5, 8000)
    assert found["ever"]["storage_mib"] == 100_000  # what a host cannot limit it does not give


@pytest.mark.parametrize("registry", [True, False])
@pytest.mark.parametrize("others", [True, False])
def test_every_offer_of_a_worker_can_be_had(registry: bool, others: bool) -> None:
    known = catalogue.read(Settings(redis_url="redis://x"))
    offers = known.offers(registry, others)
    assert offers
    for offer in offers:
        for tags in offer.tags:
            for version in offer.language_versions:
                wanted = {
                    "os": {"image-name": offer.os, "version": offer.version, "tags": tags},
                    "language": {"image-name": offer.language, "version": version},
                }
                recipe = known.recipe_for(contract.parse(wanted))
                assert recipe.os == offer.os
                assert registry or recipe.suite
                assert registry or others or recipe.own_python
