"""A worker's sweep, with a real ledger and an engine in Redis: what it takes for lost, and what for left over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ledger_parts import wants
from noop_host import NoopHost

from common.environment import Job
from common.ledger import Ledger
from common.settings import Settings
from common.states import State
from workers.containers import Found
from workers.endings import Endings
from workers.member import Member
from workers.reconciler import Reconciler
from workers.runs import Runs


class Host(NoopHost):
    """Something may happen while the engine lists."""

    meanwhile: Callable[[], object] | None = None

    def containers(self) -> list[Found]:
        found = super().containers()
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        return found

    def begin(self, job: Job) -> None:
        self.client.hset(self.containers_key, job.id, job.token)


class Site:
    """One host's worker without its threads."""

    def __init__(self, settings: Settings):
        self.ledger, self.host = Ledger.connect(settings), Host(settings)
        self.member = Member(settings, self.ledger, self.host)  # type: ignore[arg-type]
        self.member.join()
        self.reconciler = Reconciler(self.member, Runs(), Endings(self.member))

    def claim(self, env_id: str, *states: State) -> Job:
        self.ledger.submit(env_id, "ann", wants())
        job = self.ledger.claim(self.member.name, self.member.epoch)
        assert job is not None
        self.advance(job, *states)
        return job

    def advance(self, job: Job, *states: State) -> None:
        for state in states:
            self.member.advance(job, state, 50, "")

    def close(self) -> None:
        self.ledger.redis.close()
        self.host.client.close()
        assert self.member._lock_file is not None
        self.member._lock_file.close()


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    settings = {"DCLOUD_REDIS_URL": redis_url, "DCLOUD_DATA_DIR": str(tmp_path), "DCLOUD_HOST_NAME": "h"}
    site = Site(Settings.from_env(settings))
    yield site
    site.close()


def test_a_sweep_says_whether_there_may_be_something_to_claim_or_to_send(site: Site) -> None:
    assert not site.reconciler.sweep()
    site.ledger.submit("e1", "ann", wants())
    assert site.reconciler.sweep()
    job = site.ledger.claim(site.member.name, site.member.epoch)
    assert job is not None
    assert site.reconciler.sweep()  # its task may have been lost
    site.host.begin(job)
    site.advance(job, State.BUILDING, State.STARTING, State.RUNNING)
    assert not site.reconciler.sweep()
    site.ledger.stop("e1")
    assert site.reconciler.sweep()


def test_what_is_started_while_the_engine_lists_is_not_taken_for_lost(site: Site) -> None:
    job = site.claim("e1", State.BUILDING, State.STARTING)

    def start() -> None:
        site.host.begin(job)
        site.advance(job, State.RUNNING)

    site.host.meanwhile = start
    site.reconciler.sweep()
    assert site.ledger.get("e1").state is State.RUNNING
    site.host.remove("e1")
    site.reconciler.sweep()
    assert site.ledger.get("e1").state is State.STOPPING


def test_what_ends_while_it_is_taken_up_is_told_at_once(site: Site) -> None:
    job = site.claim("e1", State.BUILDING, State.STARTING)
    site.host.begin(job)
    site.host.meanwhile = lambda: site.host.remove("e1")
    assert site.reconciler.sweep()
    assert site.ledger.get("e1").state is State.STOPPING


def test_what_a_dead_worker_left_runs_where_it_was_started_and_else_waits_again(site: Site) -> None:
    started, unstarted, built = (site.claim(name, State.BUILDING) for name in ("started", "unstarted", "built"))
    site.advance(started, State.STARTING)
    site.advance(unstarted, State.STARTING)
    site.host.begin(started)
    site.reconciler.sweep()
    assert site.ledger.get("started").state is State.RUNNING
    for job in (unstarted, built):
        assert (site.ledger.get(job.id).state, site.ledger.get(job.id).attempt) == (State.QUEUED, 2)


def test_what_is_being_made_is_left_alone_for_one_sweep(site: Site) -> None:
    site.reconciler.sweep()
    site.claim("e1", State.BUILDING)
    site.reconciler.sweep()
    assert site.ledger.get("e1").state is State.BUILDING, "a thread may be about to mark it as its own"
    site.reconciler.sweep()
    assert site.ledger.get("e1").state is State.QUEUED
