"""Who comes when: fairness, quotas, reservations, waking; and what explain says of it."""

from __future__ import annotations

import time

import pytest
from ledger_parts import A100, OneHost, wants

from common.inventory import Gpu
from common.ledger import Ledger, Quota
from common.states import State

pytest_plugins = ["ledger_fixtures"]


# fairness


def test_deleted_work_is_not_held_against_its_owner(ledger: Ledger) -> None:
    for i in range(50):
        ledger.submit(f"a{i:02}", "ann", wants())
    ledger.submit("b0", "bob", wants())
    for i in range(50):
        ledger.delete(f"a{i:02}")
    ledger.submit("b1", "bob", wants())
    ledger.submit("x", "ann", wants())
    host = OneHost(ledger)
    assert [host.claim().id for _ in range(3)] == ["b0", "x", "b1"]


def test_a_long_queue_of_one_owner_shares_evenly_with_anothers(ledger: Ledger) -> None:
    for i in range(20):
        ledger.submit(f"a{i:02}", "ann", wants(cpu="0.5", ram="512MiB"))
    for i in range(20):
        ledger.submit(f"b{i:02}", "bob", wants(cpu="0.5", ram="512MiB"))
    host = OneHost(ledger)
    owners = [host.claim().owner for _ in range(16)]
    assert owners.count("ann") == owners.count("bob") == 8


def test_what_overtakes_its_owners_waiting_ones_puts_them_before_nobody_else(ledger: Ledger) -> None:
    """Once: virtual time went to where that one stood, behind its owner's whole burst."""
    host = OneHost(ledger)
    ledger.submit("holds", "eve", wants(cpu="6"))
    host.run(host.claim())
    for i in range(20):
        ledger.submit(f"a{i:02}", "ann", wants(cpu="4"))
    ledger.submit("small", "ann", wants(cpu="1"))
    assert host.claim().id == "small"
    ledger.submit("b", "bob", wants(cpu="4"))
    assert ledger.get("b").position <= 3


def test_virtual_time_stays_within_a_priority(ledger: Ledger) -> None:
    ledger.redis.hset("test:ledger", "f:5:ann", str(2**49))
    ledger.submit("late", "ann", wants())
    ledger.submit("low", "bob", wants(priority=4))
    host = OneHost(ledger)
    assert [host.claim().id, host.claim().id] == ["late", "low"]


# quotas


def test_an_owner_who_holds_nothing_leaves_the_parking_when_the_default_rises(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.set_quota("*", Quota(cpu_milli=500))
    ledger.submit("e1", "ann", wants(wait=True))
    assert host.claim() is None
    ledger.set_quota("*", Quota(cpu_milli=1000))
    assert host.claim().id == "e1"


def test_what_fits_the_quota_again_is_found_behind_much_that_does_not(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.set_quota("ann", Quota(cpu_milli=2000))
    ledger.submit("first", "ann", wants(cpu="2"))
    host.claim()
    for i in range(150):
        ledger.submit(f"big{i:03}", "ann", wants(cpu="3", wait=True))
    ledger.submit("small", "ann", wants(cpu="1"))
    host.end("first")
    assert host.claim().id == "small"


def test_one_claim_parks_a_burst_over_quota_in_parts_and_forgets_nobody(ledger: Ledger) -> None:
    host = OneHost(ledger)
    for i in range(200):
        ledger.submit(f"a{i:03}", "ann", wants())
    ledger.set_quota("ann", Quota(environments=0))
    ledger.submit("b", "bob", wants(priority=1))
    turns = 0
    while (claimed := host.claim()) is None:
        assert host.woken, "a host that stopped early looks again at once"
        turns += 1
    assert claimed.id == "b"
    assert turns == 200 // 32
    assert ledger.redis.zcard("test:parked:ann") == 200


def test_quotas_count_the_storage_of_what_is_stopped(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.set_quota("ann", Quota(storage_mib=1500))
    ledger.submit("e1", "ann", wants())
    host.run(host.claim())
    host.stop("e1")
    ledger.submit("e2", "ann", wants())
    assert host.claim() is None
    assert ledger.explain("e2")["parked"] == "storage"
    host.end("e1")
    assert host.claim().id == "e2"


# waking


def test_a_host_that_misses_wakes_one_that_fits(ledger: Ledger) -> None:
    one, two = OneHost(ledger, "one"), OneHost(ledger, "two")
    for host in (one, two):
        ledger.submit(f"x-{host.name}", "ann", wants(cpu="4"))
        host.claim()
    for i in range(2):
        ledger.submit(f"e{i}", "ann", wants(cpu="4"))
    woken = [host for host in (one, two) if host.woken]
    assert len(woken) == 1, "no broadcast"
    first, second = woken[0], two if woken[0] is one else one
    assert first.claim()
    assert first.claim() is None
    assert second.woken
    assert second.claim()


def test_a_miss_is_remembered_and_anything_that_could_end_it_is_noticed(ledger: Ledger) -> None:
    host = OneHost(ledger, gpus=A100[:1])
    ledger.submit("holds", "ann", wants(cpu="5"))
    host.run(host.claim())

    def missed() -> bool:
        ledger.redis.config_resetstat()
        assert host.claim() is None
        return ledger.redis.info("commandstats").get("cmdstat_hmget") is None

    ledger.submit("big", "ann", wants(cpu="8"))
    assert not missed()
    assert missed()
    ledger.submit("gpu", "ann", wants(gpu="2", wait=True))
    assert not missed()
    assert missed()
    ledger.drain("h1", True)
    ledger.submit("fits", "bob", wants())
    assert host.claim() is None
    ledger.drain("h1", False)
    assert host.claim().id == "fits"
    assert host.claim() is None
    host.end("holds")
    host.end("fits")
    assert host.claim().id == "big"


def test_a_host_without_free_gpus_is_left_the_work_without_gpus_but_not_for_long(ledger: Ledger) -> None:
    gpu, _plain = OneHost(ledger, "gpu", gpus=A100), OneHost(ledger, "plain")
    ledger.submit("e1", "ann", wants())
    assert gpu.claim() is None
    ledger.redis.hset("test:config", "defer_ms", "1")
    time.sleep(0.01)
    assert gpu.claim().id == "e1", "plain did not come for it"


def test_work_without_gpus_goes_where_it_leaves_free_gpus_their_cores(ledger: Ledger) -> None:
    """Of two hosts with free GPUs, the one with cores to spare beyond what its free GPUs need."""
    crowded, idle = (
        OneHost(ledger, "crowded", gpus=A100),
        OneHost(ledger, "idle", gpus=tuple(Gpu(f"X{i}", "T4", 15_000) for i in range(4))),
    )
    for i in range(3):
        ledger.submit(f"g{i}", "ann", wants(gpu="T4:1", cpu="0.5"))
        idle.claim()
    crowded.woken, idle.woken  # noqa: B018
    ledger.submit("cpu", "ann", wants(cpu="2"))
    assert (idle.woken, crowded.woken) == (True, False)
    assert crowded.claim() is None
    assert idle.claim().id == "cpu"


def test_who_waits_for_its_storage_is_found_behind_many_that_do_not_fit(ledger: Ledger) -> None:
    host = OneHost(ledger, gpus=A100[:1], storage_mib=200_000)
    for i in range(102):
        ledger.submit(f"e{i:03}", "ann", wants(gpu="1" if i < 101 else "0"))
        host.run(host.claim())
        host.stop(f"e{i:03}")
    ledger.submit("holds", "bob", wants(gpu="1"))
    host.claim()
    for i in range(102):
        ledger.start(f"e{i:03}")
    assert host.claim().id == "e101"


# explain


def test_explain_looks_at_every_host(ledger: Ledger) -> None:
    for i in range(250):
        OneHost(ledger, f"small{i:03}", cpu_milli=1000)
    OneHost(ledger, "a-big-one")
    ledger.submit("e1", "ann", wants(cpu="8"))
    explained = ledger.explain("e1")
    assert explained["verdict"] == "now"
    assert len(explained["hosts"]) == 251


def test_explain_says_who_holds_what_and_when_it_comes_free(ledger: Ledger) -> None:
    host = OneHost(ledger, gpus=A100)
    ledger.submit("holder", "ann", wants(gpu="3", lifetime="1h"))
    host.run(host.claim())
    ledger.submit("e1", "bob", wants(gpu="4"))
    explained = ledger.explain("e1")
    assert (explained["verdict"], explained["position"]) == ("wait", 1)
    (shown,) = explained["hosts"]
    assert shown["short"] == [{"what": "gpus", "need": 4, "free": 1, "short": 3}]
    assert [(item["id"], item["owner"], item["gpus"]) for item in shown["held_by"]] == [("holder", "ann", 3)]
    assert int(shown["free_at"]) == pytest.approx(ledger.get("holder").expires_at * 1000, abs=1)
    assert explained["estimate"] == shown["free_at"]


def test_explain_promises_nobody_the_host_that_drains_for_another(ledger: Ledger) -> None:
    ledger.redis.hset("test:config", "starve_ms", "1")
    host = OneHost(ledger)
    ledger.submit("holder", "ann", wants(cpu="4", lifetime="1h"))
    host.run(host.claim())
    ledger.submit("big", "ann", wants(cpu="8"))
    time.sleep(0.01)
    ledger.expire()
    ledger.submit("other", "bob", wants(cpu="6"))
    assert "estimate" in ledger.explain("big")
    assert "estimate" not in ledger.explain("other")


def test_judge_says_the_same_before_it_is_submitted(ledger: Ledger) -> None:
    OneHost(ledger, gpus=A100)
    assert ledger.judge("ann", wants(gpu="2"))["verdict"] == "now"
    never = ledger.judge("ann", wants(gpu="16"))
    assert (never["verdict"], never["nearest"]["gpus"]) == ("never", 4)
    ledger.set_quota("ann", Quota(gpus=1))
    assert ledger.judge("ann", wants(gpu="2"))["parked"] == "GPUs"


def test_a_shape_of_nothing_divides_by_nothing(ledger: Ledger) -> None:
    OneHost(ledger)
    ledger._call("submit", "e1", "ann", "n", "{}", "0:0:999999:0:0:", 5, 100, 0, "", "", "1")
    assert ledger.redis.hget(ledger.keys.environment("e1"), "state") == State.QUEUED


def test_a_shape_that_is_parked_away_hides_no_other(ledger: Ledger) -> None:
    """Once: the walk over shapes skipped one where another had left the list meanwhile."""
    host = OneHost(ledger)
    ledger.submit("never", "ann", wants(gpu="2", wait=True))
    ledger.submit("large", "ann", wants(storage="50000MiB"))
    ledger.submit("fits", "ann", wants())
    ledger.set_quota("ann", Quota(storage_mib=1500))
    assert host.claim().id == "fits"
