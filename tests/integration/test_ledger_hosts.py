"""Hosts: joined, lost, drained, overcommitted, forgotten; their GPUs and what they hold."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from ledger_parts import A100, OneHost, inventory, lose, wants

from common.errors import HostTaken, IllegalTransition, NeverFits, NotFound
from common.inventory import Gpu
from common.ledger import Ledger
from common.states import Reason, State

pytest_plugins = ["ledger_fixtures"]


def test_storage_is_kept_where_a_restart_is_given_back(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    host.run(host.claim())
    host.stop("e1")
    ledger.start("e1")
    host.claim()
    host.epoch = ledger.register("h1", "another process", 40, inventory())
    assert ledger.get("e1").state is State.QUEUED
    ledger.reconcile("h1", host.epoch, {})
    assert host.view.free_storage_mib == 100_000 - 1024, "the files are still there"
    assert host.claim().has_storage


def test_a_host_that_cannot_limit_storage_takes_nothing_that_asks_for_it(ledger: Ledger) -> None:
    host = OneHost(ledger, storage_limit="")
    ledger.submit("e1", "ann", wants(wait=True))
    assert host.claim() is None
    assert host.view.free_storage_mib == 0
    assert ledger.explain("e1")["verdict"] == "never"


def test_more_lost_hosts_than_one_sweep_looks_at_are_all_noticed(ledger: Ledger) -> None:
    hosts = [OneHost(ledger, f"h{i}") for i in range(12)]
    for i in range(12):
        ledger.submit(f"e{i:02}", "ann", wants())
        hosts[i].claim()
    ledger.redis.zadd(ledger.keys.hosts(), {host.name: 1 for host in hosts})
    for _ in range(5):
        ledger.expire(limit=5)
    assert {host.state for host in ledger.hosts()} == {"lost"}
    assert {e.state for e in ledger.environments()[0]} == {State.QUEUED}


def test_a_gpu_that_two_hosts_list_is_given_once(ledger: Ledger) -> None:
    one, two = OneHost(ledger, "one", gpus=A100[:2]), OneHost(ledger, "two", gpus=A100[1:])
    for i in range(6):
        ledger.submit(f"e{i}", "ann", wants(gpu="1"))
    given = [job.gpus[0] for host in (one, two) for _ in range(4) if (job := host.claim())]
    assert sorted(given) == ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]


def test_a_host_under_a_new_name_gets_its_gpus_when_the_old_one_is_lost(ledger: Ledger) -> None:
    old = OneHost(ledger, "old", gpus=A100[:2])
    ledger.submit("e1", "ann", wants(gpu="1"))
    old.run(old.claim())
    new = OneHost(ledger, "new", gpus=A100[:2])
    assert new.view.free_gpus == ()
    lose(ledger, "old")
    ledger.reconcile("new", new.epoch, {})
    held = ledger.get("e1").gpus
    assert set(new.view.free_gpus) == {"GPU-0", "GPU-1"} - set(held), "what runs on the old one keeps its GPU"
    ledger.heartbeat("old", old.epoch)
    assert old.view.free_gpus == ()
    ledger.forget("new") if new.view.state == "lost" else lose(ledger, "new")
    ledger.forget("new")
    ledger.reconcile("old", old.epoch, {"e1": ledger.get("e1").token})
    assert set(old.view.free_gpus) == {"GPU-0", "GPU-1"} - set(held)


def test_a_sick_gpu_is_not_given_and_comes_back_when_it_is_well(ledger: Ledger) -> None:
    host = OneHost(ledger, gpus=A100[:1])
    sick = (replace(A100[0], healthy=False),)
    ledger.register("h1", "instance-h1", 40, inventory(sick))
    ledger.submit("e1", "ann", wants(gpu="1", wait=True))
    assert host.claim() is None
    ledger.register("h1", "instance-h1", 40, inventory(A100[:1]))
    assert host.claim().gpus == ("GPU-0",)


def test_a_sick_gpu_is_none_that_the_host_could_ever_give(ledger: Ledger) -> None:
    OneHost(ledger, gpus=A100[:2])
    ledger.register("h1", "instance-h1", 40, inventory((A100[0], replace(A100[1], healthy=False))))
    ledger.submit("e1", "ann", wants(gpu="1"))
    with pytest.raises(NeverFits):
        ledger.submit("e2", "ann", wants(gpu="2"))
    ledger.register("h1", "instance-h1", 40, inventory(A100[:2]))
    ledger.submit("e3", "ann", wants(gpu="2"))


def test_an_environment_keeps_a_gpu_that_falls_sick_and_nobody_gets_it_after(ledger: Ledger) -> None:
    host = OneHost(ledger, gpus=A100[:1])
    ledger.submit("e1", "ann", wants(gpu="1"))
    host.run(host.claim())
    ledger.register("h1", "instance-h1", 40, inventory((replace(A100[0], healthy=False),)))
    assert not host.view.overcommitted
    host.end("e1")
    ledger.submit("e2", "ann", wants(gpu="1", wait=True))
    assert host.claim() is None


def test_a_gpu_that_left_the_machine_shows_as_overcommitment_while_it_is_held(ledger: Ledger) -> None:
    host = OneHost(ledger, gpus=A100[:2])
    ledger.submit("e1", "ann", wants(gpu="2"))
    host.run(host.claim())
    ledger.register("h1", "instance-h1", 40, inventory(A100[:1]))
    assert host.view.overcommitted
    host.end("e1")
    assert not host.view.overcommitted
    assert host.view.free_gpus == ("GPU-0",)


def test_mig_devices_of_one_card_are_given_before_another_card_is_begun(ledger: Ledger) -> None:
    mig = tuple(
        Gpu(f"MIG-{card}{part}", "NVIDIA A100 MIG 1g.10gb", 9856, parent=f"GPU-{card}")
        for card in "ab"
        for part in "123"
    )
    host = OneHost(ledger, gpus=mig)
    for i in range(3):
        ledger.submit(f"e{i}", "ann", wants(gpu="10GB:1" if i % 2 else "1", wait=True))
    given = [host.claim() for _ in range(2)]
    assert len({job.gpus[0][:5] for job in given}) == 1


def test_gpus_are_taken_from_as_few_islands_as_can_be(ledger: Ledger) -> None:
    islands = (1, 2, 2, 3, 3, 3, 3)
    gpus = tuple(Gpu(f"G{i}", "NVIDIA H100", 81_559, island=island) for i, island in enumerate(islands))
    host = OneHost(ledger, gpus=gpus)
    ledger.submit("e1", "ann", wants(gpu="6"))
    assert set(host.claim().gpus) == {"G1", "G2", "G3", "G4", "G5", "G6"}


def test_a_live_host_name_can_be_taken_over_by_its_own_machine_alone(ledger: Ledger) -> None:
    OneHost(ledger)
    with pytest.raises(HostTaken, match="another machine"):
        ledger.register("h1", "elsewhere", 40, inventory(machine="other"))
    lose(ledger, "h1")
    ledger.register("h1", "elsewhere", 40, inventory(machine="other"))


def test_a_host_that_will_not_return_is_forgotten_with_all_that_it_held(ledger: Ledger) -> None:
    host = OneHost(ledger, gpus=A100)
    for name in ("runs", "stopped", "waits", "goes", "made"):
        ledger.submit(name, "ann", wants(gpu="1" if name == "runs" else "0"))
        job = host.claim()
        if name != "made":
            host.run(job)
    for name in ("stopped", "waits"):
        host.stop(name)
    ledger.start("waits")
    ledger.delete("goes")
    lose(ledger, "h1")
    assert ledger.get("made").state is State.QUEUED
    with pytest.raises(IllegalTransition, match="delete"):
        ledger.forget("h1")
    ledger.forget("h1", force=True)
    states = {name: (ledger.get(name).state, ledger.get(name).reason) for name in ("runs", "stopped", "waits", "goes")}
    lost = (State.FAILED, Reason.HOST_LOST)
    assert states == {"runs": lost, "stopped": lost, "waits": lost, "goes": (State.DELETED, "")}
    assert ledger.quota("ann")[1].environments == 0
    with pytest.raises(NotFound):
        ledger.forget("h1")
    assert list(ledger.redis.keys("*h1*")) == []
    assert OneHost(ledger, "h2", gpus=A100).view.free_gpus == tuple(gpu.uuid for gpu in A100)


def test_only_a_lost_host_is_forgotten(ledger: Ledger) -> None:
    OneHost(ledger)
    with pytest.raises(IllegalTransition):
        ledger.forget("h1", force=True)


def test_what_runs_on_a_lost_host_stays_until_the_operators_limit(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    host.run(host.claim())
    lose(ledger, "h1")
    assert ledger.get("e1").state is State.RUNNING
    ledger.configure(give_up_seconds=1)
    while ledger.expire():
        pass
    assert (ledger.get("e1").state, ledger.get("e1").reason) == (State.FAILED, Reason.HOST_LOST)
    assert ledger.hosts() == []


def test_a_draining_host_finishes_what_it_has(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    job = host.claim()
    ledger.drain("h1", True)
    host.run(job)
    assert host.view.state == "draining"
    assert ledger.heartbeat("h1", host.epoch) == "draining"
    host.end("e1")


def test_a_machine_that_comes_back_smaller_is_shown_overcommitted(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants(cpu="6"))
    host.run(host.claim())
    host.epoch = ledger.register("h1", "i2", 40, inventory(cpu_milli=4000))
    ledger.submit("e2", "ann", wants(cpu="0.1"))
    assert host.claim() is None
    shown = ledger.explain("e2")
    assert shown["verdict"] == "wait"
    assert shown["hosts"][0]["overcommitted"]
    host.end("e1")
    assert host.claim().id == "e2"


def test_a_host_that_compares_itself_with_the_ledger_has_shown_that_it_lives(ledger: Ledger) -> None:
    host = OneHost(ledger, lease_seconds=40)
    ledger.redis.zincrby(ledger.keys.hosts(), -39_000, "h1")
    assert host.view.heartbeat_age_seconds > 38
    ledger.reconcile("h1", host.epoch, {})
    assert host.view.heartbeat_age_seconds < 5


def test_no_host_is_given_up_for_the_silence_of_redis(ledger: Ledger) -> None:
    hosts = OneHost(ledger, "one"), OneHost(ledger, "two")
    ledger.submit("e1", "ann", wants())
    hosts[0].build(hosts[0].claim())
    ledger.expire()
    a_minute_ago = int(time.time() * 1000) - 60_000
    ledger.redis.hset("test:ledger", "swept", a_minute_ago)
    ledger.redis.zadd(ledger.keys.hosts(), {"one": a_minute_ago, "two": a_minute_ago})
    ledger.expire()
    ledger.expire()
    assert [host.view.state for host in hosts] == ["ready", "ready"]
    ledger.heartbeat("one", hosts[0].epoch)
    ledger.redis.hset("test:ledger", "patient", int(time.time() * 1000) - 1)
    ledger.expire()
    assert [host.view.state for host in hosts] == ["ready", "lost"]
    assert ledger.get("e1").state is State.BUILDING


def test_what_a_lost_host_gives_back_wakes_one_that_lives(ledger: Ledger) -> None:
    lost, other = OneHost(ledger, "lost"), OneHost(ledger, "other")
    ledger.submit("e1", "ann", wants())
    lost.claim()
    assert (lost.woken, other.woken) in ((True, False), (False, True))
    lose(ledger, "lost")
    assert (lost.woken, other.woken) == (False, True)
    assert other.claim().id == "e1"


def test_a_lost_host_comes_back_by_its_heartbeat_alone(ledger: Ledger) -> None:
    host = OneHost(ledger)
    lose(ledger, "h1")
    ledger.reconcile("h1", host.epoch, {})
    assert host.view.state == "lost"
    assert ledger.redis.zscore(ledger.keys.hosts(), "h1") < 0
    ledger.heartbeat("h1", host.epoch)
    assert host.view.state == "ready"
