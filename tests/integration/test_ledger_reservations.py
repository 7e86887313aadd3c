"""Hosts that drain for who waited too long: for whom, which host, and who passes meanwhile."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from ledger_parts import A100, OneHost, inventory, lose, wants

from common.environment import Job
from common.ledger import Ledger, Quota

pytest_plugins = ["ledger_fixtures"]


@pytest.fixture(autouse=True)
def starve_at_once(ledger: Ledger) -> None:
    ledger.redis.hset("test:config", "starve_ms", "1")


def expire(ledger: Ledger) -> None:
    time.sleep(0.01)
    ledger.expire()


def holding(ledger: Ledger, host: OneHost, env_id: str, lifetime: str = "", **resources: str) -> Job:
    """An environment that runs on a host."""
    ledger.submit(env_id, "holder", wants(lifetime=lifetime, **resources))
    job = host.claim()
    assert job.id == env_id
    host.run(job)
    return job


def reserved(ledger: Ledger, name: str = "h1") -> str:
    return ledger.redis.hget(ledger.keys.host(name), "reserved") or ""


# while it lasts


def test_a_reservation_moves_when_its_host_is_lost(ledger: Ledger) -> None:
    one, two = OneHost(ledger, "one"), OneHost(ledger, "two")
    for host, name in ((one, "a"), (two, "b")):
        ledger.submit(name, "ann", wants(cpu="4"))
        host.run(host.claim())
    ledger.submit("big", "ann", wants(cpu="8"))
    expire(ledger)
    first = ledger.redis.hget(ledger.keys.environment("big"), "reserved")
    other = {"one": "two", "two": "one"}[first]
    lose(ledger, first)
    expire(ledger)
    assert ledger.redis.hget(ledger.keys.environment("big"), "reserved") == other
    assert ledger.redis.hget(ledger.keys.host(first), "reserved") == ""


@pytest.mark.parametrize("how", ["drained", "smaller", "forgotten"])
def test_a_reservation_moves_when_its_host_cannot_keep_it(ledger: Ledger, how: str) -> None:
    one, two = OneHost(ledger, "one"), OneHost(ledger, "two")
    for host, name in ((one, "a"), (two, "b")):
        ledger.submit(name, "ann", wants(cpu="4"))
        host.run(host.claim())
    ledger.submit("big", "ann", wants(cpu="8"))
    expire(ledger)
    first = ledger.redis.hget(ledger.keys.environment("big"), "reserved")
    if how == "drained":
        ledger.drain(first, True)
    elif how == "smaller":
        ledger.register(first, f"instance-{first}", 40, inventory(cpu_milli=6000))
    else:
        lose(ledger, first)
        ledger.forget(first, force=True)
    expire(ledger)
    assert ledger.redis.hget(ledger.keys.environment("big"), "reserved") == {"one": "two", "two": "one"}[first]
    assert (ledger.redis.hget(ledger.keys.host(first), "reserved") or "") == ""


def test_a_reservation_ends_with_its_environment(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("a", "ann", wants(cpu="4"))
    host.run(host.claim())
    ledger.submit("big", "ann", wants(cpu="8"))
    expire(ledger)
    ledger.submit("b", "bob", wants())
    assert host.claim() is None
    ledger.delete("big")
    assert host.claim().id == "b"


def test_a_restart_that_waits_too_long_gets_its_host_drained(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("mine", "ann", wants(cpu="8"))
    host.run(host.claim())
    host.stop("mine")
    ledger.submit("other", "bob", wants(cpu="4"))
    host.run(host.claim())
    ledger.start("mine")
    time.sleep(0.01)
    assert host.claim() is None
    ledger.submit("more", "bob", wants(cpu="4", priority=9))
    assert host.claim() is None, "it drains for the one whose storage it has"
    host.end("other")
    assert host.claim().id == "mine"
    host.end("mine")
    assert host.claim().id == "more"


def test_not_every_host_drains_at_once(ledger: Ledger) -> None:
    hosts = [OneHost(ledger, f"h{i}") for i in range(8)]
    for i, host in enumerate(hosts):
        ledger.submit(f"a{i}", "ann", wants(cpu="4"))
        host.run(host.claim())
    for i in range(8):
        ledger.submit(f"big{i}", "bob", wants(cpu=f"{8 - i / 1000}"))
    for _ in range(8):
        expire(ledger)
    reserved = [name for host in hosts if (name := ledger.redis.hget(ledger.keys.host(host.name), "reserved"))]
    assert len(reserved) == len(set(reserved)) == 2


def test_a_low_priority_is_reserved_for_however_many_shapes_are_before_it(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("a", "ann", wants(cpu="4"))
    host.run(host.claim())
    for i in range(80):
        ledger.submit(f"never{i}", "ann", wants(cpu=f"{100 + i}", wait=True, priority=9))
    ledger.submit("big", "bob", wants(cpu="8", priority=0))
    for _ in range(4):
        expire(ledger)
    assert ledger.redis.hget(ledger.keys.host("h1"), "reserved") == "big"


# for whom


def test_a_low_priority_does_not_starve_behind_a_stream_of_its_own_shape(ledger: Ledger) -> None:
    host = OneHost(ledger)
    holding(ledger, host, "first", cpu="8")
    ledger.submit("low", "ann", wants(cpu="8", priority=0))
    time.sleep(0.01)
    ledger.redis.hset("test:config", "starve_ms", "5")
    ledger.submit("high", "bob", wants(cpu="8", priority=9))
    ledger.expire()
    host.end("first")
    assert host.claim().id == "low"


def test_a_head_that_is_over_its_owners_quota_drains_no_host(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.set_quota("ann", Quota(cpu_milli=8000))
    ledger.submit("a", "ann", wants(cpu="4"))
    ledger.submit("big", "ann", wants(cpu="8"))
    host.run(host.claim())
    expire(ledger)
    assert reserved(ledger) == ""
    assert ledger.get("big").reason == "over_quota"
    ledger.submit("b", "bob", wants())
    assert host.claim().id == "b"


def test_a_host_stops_draining_for_who_is_over_quota_meanwhile(ledger: Ledger) -> None:
    host, other = OneHost(ledger), OneHost(ledger, "other", cpu_milli=2000)
    holding(ledger, host, "first", cpu="4")
    ledger.set_quota("ann", Quota(cpu_milli=8000))
    ledger.submit("big", "ann", wants(cpu="8"))
    expire(ledger)
    assert reserved(ledger) == "big"
    ledger.submit("small", "ann", wants(cpu="2"))
    assert other.claim().id == "small"
    ledger.submit("b", "bob", wants())
    assert host.claim().id == "b"
    assert ledger.get("big").reason == "over_quota"


def test_a_restart_that_can_never_fit_drains_nothing(ledger: Ledger) -> None:
    host = OneHost(ledger)
    holding(ledger, host, "mine", cpu="8")
    host.stop("mine")
    ledger.register("h1", "instance-h1", 40, inventory(cpu_milli=6000))
    ledger.start("mine")
    time.sleep(0.01)
    assert host.claim() is None
    ledger.submit("other", "bob", wants())
    assert host.claim().id == "other"
    assert ledger.explain("mine")["verdict"] == "never"


# which host


def test_no_host_drains_whose_gpus_are_sick(ledger: Ledger) -> None:
    sick = tuple(replace(gpu, healthy=False) for gpu in A100)
    well = tuple(replace(gpu, uuid=f"well-{gpu.uuid}") for gpu in A100)
    host = OneHost(ledger, gpus=well)
    holding(ledger, host, "holder", gpu="1")
    OneHost(ledger, "sick", gpus=sick)
    ledger.submit("big", "ann", wants(gpu="4"))
    expire(ledger)
    assert (reserved(ledger), reserved(ledger, "sick")) == ("big", "")


def test_a_host_whose_gpus_fall_sick_drains_no_longer(ledger: Ledger) -> None:
    host = OneHost(ledger, gpus=A100)
    holding(ledger, host, "holder", gpu="1")
    ledger.submit("big", "ann", wants(gpu="4"))
    expire(ledger)
    assert reserved(ledger) == "big"
    sick = (*A100[:3], replace(A100[3], healthy=False))
    ledger.register("h1", "instance-h1", 40, inventory(gpus=sick))
    assert reserved(ledger) == ""


def test_a_host_drains_where_the_storage_is_there_rather_than_where_less_runs(ledger: Ledger) -> None:
    full, roomy = OneHost(ledger, "full"), OneHost(ledger, "roomy")
    holding(ledger, full, "kept", storage="90000MiB")
    full.stop("kept")
    for name in ("a", "b"):
        holding(ledger, roomy, name, cpu="3", storage="100MiB")
    ledger.submit("big", "ann", wants(cpu="8", storage="50000MiB"))
    expire(ledger)
    assert (reserved(ledger, "full"), reserved(ledger, "roomy")) == ("", "big")


# who passes


def test_a_stream_of_short_ones_that_are_still_being_made_does_not_put_it_off(ledger: Ledger) -> None:
    host = OneHost(ledger)
    holding(ledger, host, "first", cpu="4", lifetime="1h")
    ledger.submit("big", "ann", wants(cpu="8"))
    expire(ledger)
    ledger.submit("short", "bob", wants(lifetime="1h"))
    assert host.claim() is None, "it would end after the first does"
    ledger.submit("shorter", "bob", wants(lifetime="50m"))
    assert host.claim().id == "shorter"
    host.end("first")
    time.sleep(0.01)
    ledger.submit("as-short", "eve", wants(lifetime="50m"))
    assert host.claim() is None, "it would end after the one that is being made"


def test_what_is_being_stopped_lets_nobody_pass(ledger: Ledger) -> None:
    ledger.redis.hset("test:config", "starve_ms", "1")
    host = OneHost(ledger)
    holding(ledger, host, "first", cpu="4", lifetime="1h")
    ledger.submit("big", "ann", wants(cpu="8"))
    expire(ledger)
    ledger.stop("first")
    ledger.redis.hset("test:config", "starve_ms", "3600000")
    ledger.submit("short", "bob", wants(lifetime="50m"))
    assert host.claim() is None
    assert ledger.explain("big")["estimate"]


# at what cost


def test_what_no_host_could_ever_hold_costs_no_look_at_each_of_them(ledger: Ledger) -> None:
    """Once: some hundred such shapes and some thousand hosts held up Redis for half a minute at every sweep."""
    for i in range(50):
        OneHost(ledger, f"h{i:02}")
    for i in range(20):
        ledger.submit(f"ram{i:02}", "ann", wants(ram=f"{100 + i}GiB", wait=True))
        ledger.submit(f"storage{i:02}", "ann", wants(storage=f"{500 + i}GiB", wait=True))
    ledger.redis.config_resetstat()
    expire(ledger)
    assert ledger.redis.info("commandstats")["cmdstat_hget"]["calls"] < 100
