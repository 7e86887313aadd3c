"""The smallest change that would start now."""

from __future__ import annotations

from typing import Any

from common.advice import changes, left_of
from common.contract import Gpus, Resources
from common.records import Quota

WANTED = Resources(4000, 8000, 10_000, Gpus(4, "H200"))


def host(**free: int) -> dict[str, Any]:
    """A host that is short of these amounts, as the ledger tells it."""
    short = [{"what": what, "need": 0, "free": amount, "short": 0} for what, amount in free.items()]
    return {"host": "h", "state": "ready", "overcommitted": False, "short": short}


def test_only_what_is_short_is_changed() -> None:
    [change, *_] = changes(WANTED, {"hosts": [host(ram_mib=7000)]}, Quota())
    assert change == Resources(4000, 7000, 10_000, Gpus(4, "H200"))


def test_the_nearest_comes_first() -> None:
    found = changes(WANTED, {"hosts": [host(gpus=2), host(cpu_milli=3500), host(cpu_milli=20)]}, Quota())
    assert [(change.cpu_milli, change.gpus.count) for change in found[:2]] == [(3500, 4), (4000, 4)]
    assert found[1].gpus == Gpus(4)  # any other GPU
    assert (found[2].cpu_milli, found[3].gpus.count) == (20, 2)


def test_gpus_can_be_left_out_and_cores_cannot() -> None:
    found = changes(
        WANTED, {"hosts": [host(gpus=0), host(cpu_milli=0), host(ram_mib=15), host(storage_mib=0)]}, Quota()
    )
    assert [change.gpus for change in found] == [Gpus(4), Gpus()]


def test_a_host_that_takes_nothing_gives_no_advice() -> None:
    plain = Resources(4000, 8000, 10_000)
    closed = [
        host(ram_mib=7000) | {"state": "draining"},
        host(ram_mib=7000) | {"overcommitted": True},
        host(ram_mib=7000) | {"reserved_for": "x"},
    ]
    assert changes(plain, {"hosts": closed}, Quota()) == []
    assert changes(plain, {}, Quota()) == []


def test_the_quota_counts_as_well() -> None:
    plain = Resources(4000, 8000, 10_000)
    left = left_of(Quota(environments=3, cpu_milli=5000), Quota(environments=2, cpu_milli=2000, ram_mib=1))
    assert left == Quota(environments=1, cpu_milli=3000)
    [change] = changes(plain, {"hosts": [host(ram_mib=7000)]}, left)
    assert change == Resources(3000, 7000, 10_000)
    assert changes(plain, {"hosts": [host()]}, Quota(environments=0)) == []
    assert left_of(Quota(gpus=1), Quota(gpus=2)) == Quota(gpus=0)
