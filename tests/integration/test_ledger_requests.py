"""Requests that come twice, late, from the wrong place, or make no sense: the same answer, or nothing changed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from ledger_parts import A100, PREFIX, OneHost, inventory, lose, wants

from common.errors import Fenced, IllegalTransition, LedgerError, NotFound, RedisUnavailable, StaleToken
from common.inventory import Gpu
from common.ledger import Ledger, Quota
from common.states import Phase, Reason, State

pytest_plugins = ["ledger_fixtures"]


def everything(ledger: Ledger) -> dict[str, Any]:
    """Every key and its content."""
    return {key: ledger.redis.dump(key) for key in sorted(ledger.redis.keys("*"))}


@contextmanager
def nothing_changes(ledger: Ledger) -> Iterator[None]:
    before = everything(ledger)
    yield
    assert everything(ledger) == before


def raw(ledger: Ledger, function: str, *args: Any) -> Any:
    return ledger.redis.fcall(f"{ledger.library}_{function}", 1, PREFIX, *args)


# twice


def test_a_claim_that_is_repeated_after_its_environment_moved_on_gives_nothing_of_another(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    assert raw(ledger, "claim", "h1", host.epoch, "r", 1)[0][0] == "e1"
    ledger.configure(keep_seconds=0.001)
    host.end("e1")
    time.sleep(0.01)
    ledger.expire()
    assert raw(ledger, "claim", "h1", host.epoch, "r", 1) is None


def test_a_release_that_is_repeated_after_its_user_went_on_gives_the_same_answer(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    job = host.claim()
    host.run(job)
    ledger.stop("e1")
    host.release(job, State.STOPPED, request="r")
    ledger.start("e1")
    with nothing_changes(ledger):
        host.release(job, State.STOPPED, request="r")
    assert host.claim().id == "e1"


def test_what_is_given_back_twice_waits_once(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    job = host.claim()
    host.build(job)
    arguments = ("h1", host.epoch, "e1", job.token, Reason.WORKER_RESTARTED, "r")
    assert raw(ledger, "give_back", *arguments) == "queued"
    with nothing_changes(ledger):
        assert raw(ledger, "give_back", *arguments) == "queued"
    assert ledger.get("e1").attempt == 2


def test_what_clients_repeat_changes_nothing(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    host.run(host.claim())
    ledger.stop("e1")
    with nothing_changes(ledger):
        ledger.stop("e1")
    host.release(ledger.job("e1"), State.STOPPED)
    ledger.start("e1")
    with nothing_changes(ledger):
        ledger.start("e1")
    ledger.delete("e1")
    with nothing_changes(ledger):
        ledger.delete("e1")


def test_a_host_that_registers_again_keeps_its_epoch_and_what_it_makes(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    job = host.claim()
    assert ledger.register("h1", "instance-h1", 40, inventory()) == host.epoch
    assert ledger.get("e1").token == job.token


# late, and from the wrong place


def test_a_host_moves_states_only_where_a_host_may(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    job = host.claim()
    host.run(job)
    host.stop("e1")
    ledger.start("e1")
    for state in (State.CLAIMED, State.DELETING, State.QUEUED, State.FAILED, State.DELETED, State.STOPPED):
        with nothing_changes(ledger), pytest.raises(LedgerError):
            ledger.advance("h1", host.epoch, job, state, progress=1, message="")
    with nothing_changes(ledger), pytest.raises(IllegalTransition):
        host.release(job, State.FAILED)
    assert host.claim().id == "e1"


def test_the_token_of_before_a_restart_is_spent(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    host.run(host.claim())
    host.stop("e1")
    ledger.start("e1")
    job = host.claim()
    host.epoch = ledger.register("h1", "another process", 40, inventory())
    with nothing_changes(ledger):
        for late in (
            lambda: host.build(job),
            lambda: host.release(job, State.STOPPED),
            lambda: ledger.progress("h1", host.epoch, job, Phase.IMAGE, 10, ""),
            lambda: ledger.give_back("h1", host.epoch, "e1", job.token, Reason.WORKER_RESTARTED),
        ):
            with pytest.raises(StaleToken):
                late()


@pytest.mark.parametrize("token", [1, 2**53 - 1])
def test_a_token_from_the_past_or_the_future_changes_nothing(ledger: Ledger, token: int) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    host.claim()
    with nothing_changes(ledger), pytest.raises(StaleToken, match="another allocation"):
        ledger.release("h1", host.epoch, "e1", token, State.FAILED, reason=Reason.INTERNAL, message="")


@pytest.mark.parametrize("epoch", ["1", str(2**53 - 1), "", "x"])
def test_an_epoch_from_the_past_or_the_future_is_fenced(ledger: Ledger, epoch: str) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    job = host.claim()
    with nothing_changes(ledger):
        for call in (
            lambda: ledger.heartbeat("h1", epoch),
            lambda: ledger.claim("h1", epoch),
            lambda: ledger.reconcile("h1", epoch, {}),
            lambda: ledger.todo("h1", epoch),
            lambda: ledger.give_back("h1", epoch, "e1", job.token, Reason.INTERNAL),
            lambda: ledger.advance("h1", epoch, job, State.BUILDING, progress=5, message=""),
        ):
            with pytest.raises(Fenced, match="newer worker process"):
                call()


def test_a_host_that_nobody_knows_is_told_so(ledger: Ledger) -> None:
    with nothing_changes(ledger):
        for call in (
            lambda: ledger.heartbeat("ghost", "1"),
            lambda: ledger.claim("ghost", "1"),
            lambda: ledger.drain("ghost", True),
            lambda: ledger.forget("ghost"),
        ):
            with pytest.raises(NotFound, match="ghost"):
                call()


# what makes no sense


@pytest.mark.parametrize("name", ["", "a b", "a:b", "A", "a\nb", "x" * 64, "-a", "é", "a\0"])
def test_an_odd_host_name_is_refused(ledger: Ledger, name: str) -> None:
    with nothing_changes(ledger), pytest.raises(LedgerError, match="host name"):
        ledger.register(name, "i", 40, inventory())


@pytest.mark.parametrize(
    "bad",
    [
        {"cpu_milli": -1},
        {"ram_mib": -5},
        {"storage_mib": -1},
        {"cpu_milli": 1.5},
        {"cpu_milli": float("nan")},
        {"ram_mib": 2**60},
        {"gpus": (Gpu("a", "T4", -1),)},
        {"gpus": (Gpu("a,b", "T4", 1),)},
        {"gpus": (Gpu("a|b", "T4", 1),)},
        {"gpus": (Gpu("", "T4", 1),)},
        {"gpus": (Gpu("a", "T4", 1), Gpu("a", "T4", 1))},
        {"gpus": (Gpu("a", "T4", 1), Gpu("MIG-b", "T4", 1, parent="a"))},
    ],
)
def test_an_inventory_that_makes_no_sense_is_refused(ledger: Ledger, bad: dict[str, Any]) -> None:
    with nothing_changes(ledger), pytest.raises(LedgerError, match="inventory"):
        ledger.register("h1", "i", 40, inventory(**bad))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '{"cpu_milli": 1}', '{"cpu_milli":1,"ram_mib":1,"storage_mib":1,"gpus":[7]}',
     '{"cpu_milli":"1","ram_mib":1,"storage_mib":1,"gpus":[]}'],
)  # fmt: skip
def test_an_inventory_that_is_none_leaves_no_key(ledger: Ledger, text: str) -> None:
    with nothing_changes(ledger), pytest.raises(redis.ResponseError, match="BADARG"):
        raw(ledger, "register", "h1", "m", "i", 40_000, text)


@pytest.mark.parametrize("lease", [0, -1, "nan", ""])
def test_a_lease_without_length_is_refused(ledger: Ledger, lease: Any) -> None:
    with nothing_changes(ledger), pytest.raises(LedgerError, match="lease"):
        with_errors(ledger, "register", "h1", "m", "i", lease, json.dumps({}))


def with_errors(ledger: Ledger, function: str, *args: Any) -> Any:
    """A raw call, its error in our tree."""
    return ledger._call(function, *args)


SUBMIT = {
    "id": "e1", "owner": "ann", "name": "n", "contract": "{}", "shape": "1:1:1:0:0:", "priority": 5, "cost": 100,
    "lifetime": 0, "request": "", "digest": "", "wait": "0",
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""), ("id", "a b"), ("id", "a\nb"), ("id", "x" * 65), ("id", "a:b"),
        ("owner", ""), ("owner", "a:b"), ("owner", "*"), ("owner", "a b"), ("owner", "x" * 129), ("owner", "a\0b"),
        ("shape", ""), ("shape", "1:1:1"), ("shape", "-1:1:1:0:0:"), ("shape", "1:1:1:0:0:a\nb"),
        ("shape", "99999999999999999:1:1:0:0:"), ("shape", "1:1:1:x:0:"), ("shape", "1:1:1:0:0:a|b"),
        ("priority", -1), ("priority", 10), ("priority", "x"), ("priority", 1.5), ("priority", ""),
        ("cost", -1), ("cost", 0), ("cost", "x"), ("cost", 2**60), ("lifetime", -1), ("lifetime", "x"),
        ("request", "x" * 300),
    ],
)  # fmt: skip
def test_a_submit_that_makes_no_sense_leaves_no_key(ledger: Ledger, field: str, value: Any) -> None:
    with nothing_changes(ledger), pytest.raises(LedgerError, match=r"."):
        with_errors(ledger, "submit", *{**SUBMIT, field: value}.values())


def test_keys_of_two_owners_never_meet(ledger: Ledger) -> None:
    ledger.submit("e1", "a", wants(), request="b:c", digest="d")
    with pytest.raises(LedgerError):
        ledger.submit("e2", "a:b", wants(), request="c", digest="d")


@pytest.mark.parametrize("progress", [-1, 101, "x", "", 1.5])
def test_progress_that_is_none_is_refused(ledger: Ledger, progress: Any) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    job = host.claim()
    with nothing_changes(ledger), pytest.raises(LedgerError):
        ledger.advance("h1", host.epoch, job, State.BUILDING, progress=progress, message="")
    host.build(job)
    with nothing_changes(ledger), pytest.raises(LedgerError):
        ledger.progress("h1", host.epoch, job, Phase.IMAGE, progress, "")


@pytest.mark.parametrize("quota", ["x", "1", "1|2|3|4", "-1||||", "1|2|3|4|5|6", "1e9||||"])
def test_a_quota_that_is_none_is_refused(ledger: Ledger, quota: str) -> None:
    with nothing_changes(ledger), pytest.raises(LedgerError, match="quota"):
        with_errors(ledger, "set_quota", "ann", quota)


def test_too_few_arguments_are_an_error_and_change_nothing(ledger: Ledger) -> None:
    host = OneHost(ledger, gpus=A100)
    ledger.submit("e1", "ann", wants())
    job = host.claim()
    ledger.set_quota("ann", Quota(environments=3))
    known = ("h1", host.epoch, "e1", job.token)
    with nothing_changes(ledger):
        for function, least in TAKES.items():
            for count in range(min(least, len(known) + 1)):
                with pytest.raises(redis.ResponseError, match=f"BADARG {function} takes {least}"):
                    raw(ledger, function, *known[:count])


TAKES = {
    "submit": 11, "delete": 1, "stop": 2, "start": 1, "set_quota": 2, "position": 1, "register": 5, "heartbeat": 2,
    "drain": 2, "forget": 2, "claim": 4, "advance": 10, "progress": 7, "release": 8, "todo": 2, "give_back": 6,
    "reconcile": 2, "expire": 2, "explain": 3, "nearest": 2,
}  # fmt: skip


def test_an_unknown_function_is_an_error_of_our_own(ledger: Ledger) -> None:
    with pytest.raises(RedisUnavailable, match="Function not found"):
        with_errors(ledger, "nonsense")


def test_a_library_that_is_gone_is_loaded_again(ledger: Ledger) -> None:
    ledger.submit("e1", "ann", wants())
    ledger.redis.function_flush("SYNC")
    assert ledger.get("e1").position == 1
    ledger.redis.function_flush("SYNC")
    assert OneHost(ledger).claim().id == "e1"


def test_two_versions_live_side_by_side(ledger: Ledger) -> None:
    other = Ledger(ledger.redis, PREFIX)
    other.library, other._code = "dcloud_other", ledger._code.replace(ledger.library, "dcloud_other")
    other.load()
    ledger.submit("e1", "ann", wants())
    host = OneHost(other)
    assert host.claim().id == "e1"
    assert ledger.get("e1").state is State.CLAIMED


def test_a_lost_host_is_told_that_it_was_given_up(ledger: Ledger) -> None:
    host = OneHost(ledger)
    lose(ledger, "h1")
    assert host.view.state == "lost"
    assert ledger.heartbeat("h1", host.epoch) == "ready"
    assert host.view.state == "ready"
