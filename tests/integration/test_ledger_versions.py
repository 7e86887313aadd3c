"""Old and new processes side by side: what a newer version has queued is not in the way of an older one."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from ledger_parts import PREFIX, OneHost, lose, wants

from common.ledger import Ledger, Quota, cost, shape
from common.states import State

pytest_plugins = ["ledger_fixtures"]

KNOWN, MORE = ":?([%w ./_-]*)$", ":?([%w ./_-]*):?%w*$"  # the end of a shape, and one more part of it


@pytest.fixture
def newer(ledger: Ledger) -> Iterator[Ledger]:
    """The ledger of a version whose shapes have a part more; at the end nothing of these waits."""
    newer = Ledger(ledger.redis, PREFIX)
    assert newer._code.count(KNOWN) == 1
    newer.library = "dcloud_newer"
    newer._code = ledger._code.replace(KNOWN, MORE).replace(ledger.library, newer.library)
    newer.load()
    yield newer
    for environment in newer.environments(states=[State.QUEUED])[0]:
        newer.delete(environment.id)


def submit(newer: Ledger, env_id: str, owner: str = "ann", **needs: str) -> None:
    """An environment with a shape of seven parts and one more."""
    wanted = wants(**needs)
    need = f"{shape(wanted)}:zone1"
    newer._call("submit", env_id, owner, env_id, wanted.text, need, 5, cost(wanted.resources), 0, "", "", "1")


def test_a_claim_passes_over_a_shape_that_it_cannot_read(ledger: Ledger, newer: Ledger) -> None:
    host = OneHost(ledger)
    submit(newer, "e1")
    assert host.claim() is None
    ledger.submit("e2", "bob", wants())
    assert host.claim().id == "e2"
    assert OneHost(newer).claim().id == "e1"


def test_a_sweep_drains_no_host_for_it(ledger: Ledger, newer: Ledger) -> None:
    ledger.configure(starve_seconds=0.001)
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants(cpu="8"))
    host.run(host.claim())
    submit(newer, "e2")
    ledger.submit("e3", "bob", wants())
    time.sleep(0.01)
    ledger.expire()
    assert ledger.redis.hgetall(f"{PREFIX}:reserved") == {"e3": "h1"}


def drains_for_it(ledger: Ledger, newer: Ledger) -> OneHost:
    """A free host that a newer version lets drain for what only that can read, beside one that waits briefly."""
    newer.configure(starve_seconds=0.001)
    host = OneHost(newer)
    ledger.submit("e1", "ann", wants(cpu="8"))
    host.run(host.claim())
    submit(newer, "e2", cpu="8")
    time.sleep(0.01)
    newer.expire()
    assert newer.redis.hgetall(f"{PREFIX}:reserved") == {"e2": "h1"}
    newer.configure(starve_seconds=600)
    ledger.submit("e3", "bob", wants(lifetime="1s"))
    host.end("e1")
    return host


def test_a_host_that_drains_for_it_takes_what_is_short(ledger: Ledger, newer: Ledger) -> None:
    host = drains_for_it(ledger, newer)
    job = ledger.claim("h1", host.epoch)
    assert job is not None
    assert job.id == "e3"


def test_a_host_whose_worker_cannot_read_it_drains_for_it_no_longer(ledger: Ledger, newer: Ledger) -> None:
    drains_for_it(ledger, newer)
    OneHost(ledger, instance="older")
    assert ledger.redis.hgetall(f"{PREFIX}:reserved") == {}


def test_what_a_lost_host_had_of_it_waits_again(ledger: Ledger, newer: Ledger) -> None:
    host = OneHost(newer, "new")
    OneHost(ledger, "old")
    submit(newer, "e1")
    assert host.claim().id == "e1"
    lose(ledger, "new")
    assert ledger.get("e1").state is State.QUEUED


def test_it_counts_as_what_its_owner_holds(ledger: Ledger, newer: Ledger) -> None:
    ledger.set_quota("ann", Quota(cpu_milli=1500))
    host = OneHost(newer)
    submit(newer, "e1")
    host.run(host.claim())
    for env_id in ("e2", "e3"):
        submit(newer, env_id)
    assert ledger.delete("e2").state is State.DELETED
    ledger.set_quota("ann", None)
    assert ledger.get("e3").reason == ""
    host.stop("e1")
    assert ledger.start("e1").state is State.QUEUED
