"""The ledger against a real Redis: one claim at a time, legal paths only, capacity given back once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from ledger_parts import A100, OneHost, inventory, wants

from common.errors import (
    Conflict,
    Fenced,
    HostTaken,
    IllegalTransition,
    NeverFits,
    NotFound,
    RedisUnavailable,
    StaleToken,
)
from common.inventory import Gpu
from common.ledger import Ledger, Quota
from common.settings import Settings
from common.states import TRANSITIONS, Phase, Reason, State

pytest_plugins = ["ledger_fixtures"]


def test_the_two_state_tables_are_the_same(ledger: Ledger) -> None:
    import json

    table = json.loads(ledger.redis.fcall_ro(f"{ledger.library}_transitions", 1, "test"))
    assert {State(s): frozenset(State(n) for n in nexts) for s, nexts in table.items()} == TRANSITIONS


def test_a_life_from_submit_to_deletion(ledger: Ledger) -> None:
    host = OneHost(ledger, gpus=A100)
    assert ledger.submit("e1", "ann", wants(gpu="A100:2", cpu="2")).state is State.QUEUED
    assert ledger.redis.lrange(ledger.keys.wake("h1"), 0, -1) == ["1"]
    job = host.claim()
    assert job.id == "e1"
    assert set(job.gpus) in ({"GPU-0", "GPU-1"}, {"GPU-2", "GPU-3"}), "GPUs that are linked to each other"
    assert host.view.free_cpu_milli == 6000
    assert ledger.todo("h1", host.epoch) == [("e1", State.CLAIMED, job.token)]
    host.run(job)
    assert ledger.get("e1").state is State.RUNNING
    assert ledger.stop("e1").state is State.STOPPING
    host.release(job, State.STOPPED)
    assert (host.view.free_cpu_milli, len(host.view.free_gpus)) == (8000, 4)
    assert host.view.free_storage_mib == 100_000 - 1024, "a stopped environment keeps its storage"
    ledger.start("e1")
    again = host.claim()
    assert again.has_storage
    assert again.token > job.token
    assert ledger.delete("e1").state is State.DELETING
    host.release(again, State.DELETED)
    assert host.view.free_storage_mib == 100_000
    states = [event.state for event in ledger.events("e1")]
    assert states == [
        "queued", "claimed", "building", "starting", "running", "stopping", "stopped", "queued", "claimed", "deleting",
        "deleted",
    ]  # fmt: skip


def test_a_repeated_request_changes_nothing(ledger: Ledger) -> None:
    host = OneHost(ledger)
    for _ in range(2):
        assert ledger.submit("e1", "ann", wants(), request="k", digest="d").id == "e1"
    assert ledger.submit("e2", "ann", wants(), request="k", digest="d").id == "e1"
    with pytest.raises(Conflict):
        ledger.submit("e3", "ann", wants(), request="k", digest="other")
    with pytest.raises(NotFound):
        ledger.get("e3")
    function = f"{ledger.library}_claim"
    ledger.submit("e4", "ann", wants())
    first = ledger.redis.fcall(function, 1, "test", "h1", host.epoch, "request-1", 2)
    assert ledger.redis.fcall(function, 1, "test", "h1", host.epoch, "request-1", 2) == first
    assert [job[0] for job in first] == ["e1", "e4"]
    assert host.view.free_cpu_milli == 6000
    job = ledger.job("e1")
    host.run(job)
    ledger.stop("e1")
    host.release(job, State.STOPPED, request="r")
    host.release(job, State.STOPPED, request="r")
    with pytest.raises(IllegalTransition):
        host.release(job, State.STOPPED)


def test_a_stale_token_and_a_fenced_process_change_nothing(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    job = host.claim()
    old_epoch, host.epoch = host.epoch, ledger.register("h1", "instance-2", 40, inventory())
    with pytest.raises(Fenced):
        ledger.claim("h1", old_epoch)
    assert ledger.get("e1").state is State.QUEUED, "what the old process was making waits again"
    assert ledger.get("e1").attempt == 1
    with pytest.raises(StaleToken):
        ledger.advance("h1", host.epoch, job, State.BUILDING, progress=5, message="")
    again = host.claim()
    with pytest.raises(StaleToken):
        host.release(job, State.FAILED)
    assert ledger.get("e1").token == again.token


def test_another_machine_cannot_take_a_live_host_name(ledger: Ledger) -> None:
    OneHost(ledger)
    with pytest.raises(HostTaken):
        ledger.register("h1", "instance-2", 40, inventory(machine="another"))


def test_three_lost_attempts_end_in_failure_and_free_everything(ledger: Ledger) -> None:
    ledger.submit("e1", "ann", wants())
    for attempt in range(3):
        host = OneHost(ledger)
        ledger.register("h1", f"i{attempt}", 40, inventory())
        host = OneHost(ledger)
        job = host.claim()
        assert job.attempt == attempt + 1
        OneHost(ledger, instance="died before it began")
        host = OneHost(ledger, instance=f"again {attempt}")
        job = host.claim()
        assert job.attempt == attempt + 1, "nobody had begun to make it"
        host.build(job)
        ledger.register("h1", f"j{attempt}", 40, inventory())
    environment = ledger.get("e1")
    assert (environment.state, environment.reason) == (State.FAILED, Reason.TOO_MANY_ATTEMPTS)
    assert host.view.free_cpu_milli == 8000


def test_a_silent_host_gives_back_what_it_was_making_and_keeps_what_runs(ledger: Ledger) -> None:
    host = OneHost(ledger, lease_seconds=0.05)
    steps = (State.BUILDING, State.STARTING, State.RUNNING)
    for made in range(4):
        ledger.submit(f"e{made}", "ann", wants())
        job = host.claim()
        for state in steps[:made]:
            ledger.advance("h1", host.epoch, job, state, progress=100, message="")
    time.sleep(0.06)
    ledger.expire()
    assert host.view.state == "lost"
    # a container may be there from when it is being started, and another host would begin a second one
    assert [ledger.get(f"e{made}").state for made in range(4)] == ["queued", "queued", "starting", "running"]
    ledger.heartbeat("h1", host.epoch)
    assert host.view.state == "ready"
    assert ledger.reconcile("h1", host.epoch, {}).making == ("e2",)
    assert host.claim() is not None


def test_a_new_process_looks_for_the_container_before_what_was_being_started_waits_again(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    job = host.claim()
    for state in (State.BUILDING, State.STARTING):
        ledger.advance("h1", host.epoch, job, state, progress=90, message="")
    host = OneHost(ledger, instance="another")
    assert ledger.get("e1").state is State.STARTING
    assert ledger.reconcile("h1", host.epoch, {"e1": job.token}).making == ("e1",)
    ledger.give_back("h1", host.epoch, "e1", job.token, Reason.WORKER_RESTARTED)
    assert (ledger.get("e1").state, ledger.get("e1").attempt) == (State.QUEUED, 2)


def test_lifetimes_end(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants(lifetime="1s"))
    host.run(host.claim())
    import time

    time.sleep(1.05)
    ledger.expire()
    environment = ledger.get("e1")
    assert (environment.state, environment.reason) == (State.STOPPING, Reason.LIFETIME_OVER)


def test_a_burst_of_one_user_does_not_hold_up_another(ledger: Ledger) -> None:
    for i in range(50):
        ledger.submit(f"a{i:02}", "ann", wants())
    ledger.submit("b", "bob", wants())
    assert ledger.get("b").position == 2
    host = OneHost(ledger)
    assert [host.claim().owner for _ in range(3)].count("bob") == 1


def test_priority_goes_first_and_what_does_not_fit_does_not_block(ledger: Ledger) -> None:
    ledger.submit("big", "ann", wants(cpu="100", priority=9))
    ledger.submit("low", "ann", wants(priority=1))
    ledger.submit("high", "ann", wants(priority=8))
    host = OneHost(ledger)
    assert [host.claim().id, host.claim().id, host.claim()] == ["high", "low", None]


def test_a_gpu_is_given_once_and_the_smallest_that_suffices(ledger: Ledger) -> None:
    gpus = (
        Gpu("big", "NVIDIA H200", 144_000),
        Gpu("small", "NVIDIA T4", 15_000),
        Gpu("sick", "NVIDIA T4", 15_000, healthy=False),
    )
    host = OneHost(ledger, gpus=gpus)
    for i in range(3):
        ledger.submit(f"e{i}", "ann", wants(gpu="1"))
    ledger.submit("m", "ann", wants(gpu="H20:1", wait=True))
    assert [host.claim().gpus, host.claim().gpus, host.claim()] == [("small",), ("big",), None]


def test_a_miss_is_remembered_until_something_changes(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("big", "ann", wants(cpu="100", wait=True))
    assert host.claim() is None
    assert ledger.redis.get("test:missed:h1") == f"{host.epoch} {ledger.redis.get('test:queued')}"
    ledger.submit("fits", "ann", wants())
    assert host.claim().id == "fits"


def test_an_overcommitted_or_draining_host_takes_nothing(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants(cpu="6"))
    host.run(host.claim())
    host.epoch = ledger.register("h1", "i2", 40, inventory(cpu_milli=4000))
    assert (host.view.overcommitted, host.view.free_cpu_milli) == (True, 0)
    ledger.submit("e2", "ann", wants(cpu="0.1"))
    assert host.claim() is None
    host.epoch = ledger.register("h1", "i3", 40, inventory())
    ledger.drain("h1", True)
    assert host.claim() is None
    ledger.drain("h1", False)
    assert host.claim().id == "e2"


def test_reconcile_tells_what_differs(ledger: Ledger) -> None:
    host = OneHost(ledger)
    for env_id in ("e1", "e2"):
        ledger.submit(env_id, "ann", wants())
    one, two = host.claim(), host.claim()
    host.run(one)
    ledger.advance("h1", host.epoch, two, State.BUILDING, progress=5, message="")
    difference = ledger.reconcile("h1", host.epoch, {"stranger": 1, two.id: 7})
    assert difference.missing == (one.id,)
    assert difference.making == (two.id,)
    assert set(difference.orphans) == {"stranger", two.id}
    assert ledger.reconcile("h1", host.epoch, {one.id: one.token}).missing == ()


def test_reconcile_tells_whether_a_claim_could_give_anything(ledger: Ledger) -> None:
    host, other = OneHost(ledger), OneHost(ledger, "h2")
    assert not ledger.reconcile("h1", host.epoch, {}).waiting
    ledger.submit("e1", "ann", wants())
    assert ledger.reconcile("h1", host.epoch, {}).waiting
    job = host.claim()
    assert not ledger.reconcile("h1", host.epoch, {}).waiting
    host.run(job)
    ledger.stop("e1")
    host.release(job, State.STOPPED)
    ledger.start("e1")  # its storage is on h1
    assert ledger.reconcile("h1", host.epoch, {}).waiting
    assert not ledger.reconcile("h2", other.epoch, {}).waiting


def test_progress_only_rises_and_only_while_it_is_made(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    job = host.claim()
    ledger.advance("h1", host.epoch, job, State.BUILDING, progress=5, message="")
    for value in (30, 20):
        ledger.progress("h1", host.epoch, job, Phase.IMAGE, value, "image")
    assert ledger.get("e1").progress == 30
    ledger.delete("e1")
    with pytest.raises(IllegalTransition):
        ledger.progress("h1", host.epoch, job, Phase.IMAGE, 40, "image")


def test_pages_are_newest_first_and_ones_own(ledger: Ledger) -> None:
    for i in range(7):
        ledger.submit(f"e{i}", "ann" if i % 2 else "bob", wants())
    page, cursor = ledger.environments(limit=3)
    assert [e.id for e in page] == ["e6", "e5", "e4"]
    page, cursor = ledger.environments(limit=3, cursor=cursor)
    assert [e.id for e in page] == ["e3", "e2", "e1"]
    page, cursor = ledger.environments(limit=3, cursor=cursor)
    assert ([e.id for e in page], cursor) == (["e0"], "")
    ledger.delete("e5")
    page, cursor = ledger.environments("ann", states=[State.QUEUED], limit=10)
    assert ([e.id for e in page], cursor) == (["e3", "e1"], "")


def test_what_fits_no_host_is_refused_with_the_nearest(ledger: Ledger) -> None:
    OneHost(ledger, gpus=A100)
    with pytest.raises(NeverFits) as refused:
        ledger.submit("e1", "ann", wants(gpu="16", cpu="2"))
    assert refused.value.nearest is not None
    assert (refused.value.nearest["gpus"], refused.value.nearest["cpu_milli"]) == (4, 2000)
    with pytest.raises(NotFound):
        ledger.get("e1")
    assert ledger.submit("e1", "ann", wants(gpu="16", cpu="2", wait=True)).state is State.QUEUED
    assert ledger.explain("e1")["verdict"] == "never"
    assert ledger.explain("e1")["nearest"]["gpus"] == 4


def test_over_quota_waits_beside_the_queue_and_returns(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.set_quota("*", Quota(cpu_milli=2000))
    for i in range(3):
        ledger.submit(f"a{i}", "ann", wants(cpu="1.5"))
    ledger.submit("b", "bob", wants())
    assert {host.claim().id, host.claim().id, host.claim()} == {"a0", "b", None}
    waiting = ledger.get("a1")
    assert (waiting.state, waiting.reason, waiting.position) == (State.QUEUED, Reason.OVER_QUOTA, None)
    assert ledger.explain("a1")["parked"] == "CPU"
    assert ledger.quota("ann")[1].cpu_milli == 1500
    job = ledger.job("a0")
    ledger.delete("a0")
    host.release(job, State.DELETED)
    assert host.claim().id == "a1"
    ledger.set_quota("ann", Quota(environments=5))
    assert host.claim().id == "a2"
    assert ledger.quota("ann")[1] == Quota(2, 3000, 2048, 0, 2048)


def test_a_stopped_environment_counts_its_storage_alone(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.set_quota("*", Quota(environments=1))
    ledger.submit("a", "ann", wants())
    job = host.claim()
    host.run(job)
    ledger.stop("a")
    host.release(job, State.STOPPED)
    assert ledger.quota("ann")[1] == Quota(1, 0, 0, 0, 1024)
    assert ledger.start("a").reason == ""
    assert host.claim().id == "a"
    assert ledger.quota("ann")[1] == Quota(1, 1000, 1024, 0, 1024)


def test_a_head_that_waited_too_long_gets_a_host_that_drains(ledger: Ledger) -> None:
    ledger.redis.hset("test:config", "starve_ms", "1")
    host = OneHost(ledger)
    ledger.submit("long", "ann", wants(cpu="4", lifetime="1h"))
    host.run(host.claim())
    ledger.submit("big", "ann", wants(cpu="8"))
    import time

    time.sleep(0.01)
    ledger.expire()
    assert ledger.redis.hget(ledger.keys.host("h1"), "reserved") == "big"
    ledger.submit("endless", "bob", wants())
    ledger.submit("too-long", "bob", wants(lifetime="2h"))
    assert host.claim() is None, "these would hold up the one that the host drains for"
    ledger.submit("short", "bob", wants(lifetime="10m"))
    short = host.claim()
    assert short.id == "short", "it ends before the other could begin"
    explained = ledger.explain("big")
    assert explained["verdict"] == "wait"
    assert int(explained["estimate"]) > time.time() * 1000 + 3000_000
    for env_id in ("long", "short"):
        ledger.delete(env_id)
        host.release(ledger.job(env_id), State.DELETED)
    assert host.claim().id == "big"
    assert ledger.redis.hget(ledger.keys.host("h1"), "reserved") == ""


def test_hosts_leave_environments_to_those_that_suit_better(ledger: Ledger) -> None:
    big = OneHost(ledger, "big", gpus=(Gpu("h200", "NVIDIA H200", 144_000),))
    small = OneHost(ledger, "small", gpus=(Gpu("t4", "NVIDIA T4", 15_000),))
    plain = OneHost(ledger, "plain")
    ledger.submit("cpu", "ann", wants())
    assert big.claim() is None
    assert plain.claim().id == "cpu"
    ledger.submit("gpu", "ann", wants(gpu="1"))
    assert big.claim() is None
    assert ledger.redis.llen(ledger.keys.wake("small")) == 1
    assert small.claim().gpus == ("t4",)
    ledger.submit("gpu2", "ann", wants(gpu="1"))
    assert big.claim().gpus == ("h200",)


def test_a_lost_and_empty_host_can_be_forgotten(ledger: Ledger) -> None:
    ledger.register("h1", "i", 0.05, inventory())
    with pytest.raises(IllegalTransition):
        ledger.forget("h1")
    import time

    time.sleep(1.1)
    ledger.expire()
    ledger.forget("h1")
    assert ledger.hosts() == []
    assert ledger.submit("e1", "ann", wants(cpu="1000")).state is State.QUEUED, "no host is known: it waits"


def test_claims_that_race_never_take_too_much(ledger: Ledger) -> None:
    hosts = [OneHost(ledger, f"h{i}", gpus=tuple(Gpu(f"g{i}{j}", "T4", 15_000) for j in range(2))) for i in range(4)]
    for i in range(60):
        ledger.submit(f"e{i:02}", f"u{i % 5}", wants(gpu=str(i % 2), cpu="0.5"))
    with ThreadPoolExecutor(8) as pool:
        jobs = [job for job in pool.map(lambda i: hosts[i % 4].claim(), range(100)) if job]
    assert len({job.id for job in jobs}) == len(jobs)
    given = [uuid for job in jobs for uuid in job.gpus]
    assert len(given) == len(set(given)) == 8
    for host in ledger.hosts():
        used = sum(ledger.get(env_id).contract.resources.cpu_milli for env_id in host.environments)
        assert host.free_cpu_milli == 8000 - used >= 0


def test_a_redis_that_drops_keys_is_refused(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(RedisUnavailable, match="noeviction"):
                Ledger.connect(Settings.from_env({"DCLOUD_REDIS_URL": redis_url}))
        finally:
            client.config_set("maxmemory-policy", "noeviction")


def test_no_redis_is_said_in_a_sentence() -> None:
    with pytest.raises(RedisUnavailable, match="does not answer"):
        Ledger.connect(Settings.from_env({"DCLOUD_REDIS_URL": "redis://127.0.0.1:1/0"}))
