"""What is over its owner's quota by itself: it could never start, whatever else its owner gives back."""

from __future__ import annotations

import pytest
from ledger_parts import A100, OneHost, wants

from common.errors import NeverFits
from common.ledger import Ledger, Quota

pytest_plugins = ["ledger_fixtures"]

NEEDS = {"cpu": "2", "ram": "2GiB", "gpu": "2", "storage": "2GiB"}
AMOUNTS = {"cpu_milli": 2000, "ram_mib": 2048, "gpus": 2, "storage_mib": 2048}


@pytest.mark.parametrize(
    ("quota", "words", "less"),
    [
        (Quota(cpu_milli=1999), "CPU", {"cpu_milli": 1999}),
        (Quota(ram_mib=512), "RAM", {"ram_mib": 512}),
        (Quota(gpus=0), "GPUs", {"gpus": 0}),
        (Quota(storage_mib=2047, gpus=1), "GPUs, storage", {"storage_mib": 2047, "gpus": 1}),
    ],
)
@pytest.mark.parametrize("hosts", [0, 1])
def test_it_is_refused_with_the_nearest_within_the_quota(
    ledger: Ledger, hosts: int, quota: Quota, words: str, less: dict[str, int]
) -> None:
    for _ in range(hosts):
        OneHost(ledger, gpus=A100)
    ledger.set_quota("*", quota)
    with pytest.raises(NeverFits) as refused:
        ledger.submit("e1", "ann", wants(**NEEDS))
    assert (refused.value.quota, refused.value.nearest) == (words, {**AMOUNTS, **less})
    judged = ledger.judge("ann", wants(**NEEDS))
    assert (judged["verdict"], judged["beyond"], judged["nearest"]) == ("never", words, {**AMOUNTS, **less})


def test_the_nearest_is_within_what_a_host_has_too(ledger: Ledger) -> None:
    OneHost(ledger, gpus=A100)
    ledger.set_quota("ann", Quota(cpu_milli=500))
    with pytest.raises(NeverFits) as refused:
        ledger.submit("e1", "ann", wants(cpu="1", gpu="16"))
    assert refused.value.nearest == {"cpu_milli": 500, "ram_mib": 1024, "gpus": 4, "storage_mib": 1024}


@pytest.mark.parametrize("quota", [Quota(environments=0), Quota(ram_mib=0)])
def test_a_quota_of_nothing_has_no_nearest(ledger: Ledger, quota: Quota) -> None:
    OneHost(ledger)
    ledger.set_quota("ann", quota)
    with pytest.raises(NeverFits) as refused:
        ledger.submit("e1", "ann", wants())
    assert refused.value.nearest is None
    assert ledger.judge("ann", wants())["nearest"] is None


def test_what_is_told_to_wait_waits_for_a_larger_quota(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.set_quota("ann", Quota(cpu_milli=500))
    waiting = ledger.submit("e1", "ann", wants(wait=True))
    assert waiting.message == "Waiting until its owner may hold more: over quota in CPU"
    explained = ledger.explain("e1")
    assert (explained["verdict"], explained["beyond"]) == ("never", "CPU")
    assert explained["nearest"]["cpu_milli"] == 500
    ledger.set_quota("ann", Quota(cpu_milli=1000))
    assert ledger.explain("e1")["verdict"] == "now"
    assert host.claim().id == "e1"


def test_what_fits_a_quota_once_others_are_gone_waits(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.set_quota("ann", Quota(cpu_milli=1000))
    ledger.submit("e1", "ann", wants())
    host.run(host.claim())
    ledger.submit("e2", "ann", wants())
    explained = ledger.explain("e2")
    assert (explained["verdict"], explained["parked"]) == ("wait", "CPU")
    assert "beyond" not in explained
    host.stop("e1")
    assert ledger.explain("e2")["verdict"] == "now"
