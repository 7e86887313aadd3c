"""Jobs that a claim has left for their tasks."""

from __future__ import annotations

from dataclasses import replace

from common import contract
from common.environment import Job
from workers.jobs import MOST, Jobs

JOB = Job(id="e1", name="n", owner="ann", token=1, attempt=1, contract=contract.parse({}), gpus=(), has_storage=False)


def test_a_job_is_there_once_and_for_its_own_token() -> None:
    jobs = Jobs()
    jobs.keep(JOB)
    assert jobs.take("e1", 2) is None
    assert jobs.take("e1", 1) == JOB
    assert jobs.take("e1", 1) is None


def test_of_too_many_the_oldest_are_gone() -> None:
    jobs = Jobs()
    for number in range(MOST + 1):
        jobs.keep(replace(JOB, id=f"e{number}"))
    assert jobs.take("e0", 1) is None
    assert jobs.take("e1", 1) is not None
