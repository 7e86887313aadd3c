"""A lock rebuilds the same layer, bit by bit, on a host that has nothing yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lab import Heard, Lab
from trees import hashes

from common.contract import parse
from common.environment import Job
from common.errors import ProvisionError
from common.settings import Settings
from common.states import Reason
from workers.provision import Host


@pytest.fixture
def fresh(settings: Settings, tmp_path: Path) -> Iterator[Lab]:
    """A host without anything in its store."""
    lab = Lab(Host(replace(settings, data_dir=tmp_path / "data", host_name="fresh")))
    yield lab
    lab.clear()
    lab.host.builders.close()
    lab.host.close()


def locked(job: Job, lock: str) -> Job:
    return replace(job, contract=replace(job.contract, libraries=(), lock=lock))


def layer_of(lab: Lab, job: Job) -> Path:
    path = lab.python(job, "import sys; print(sys.prefix)")
    return lab.host.builders.store / "layers" / path.rpartition("/")[2]


def test_a_lock_makes_the_same_layer_on_another_store(lab: Lab, fresh: Lab) -> None:
    job, heard = lab.job("numpy", "attrs"), Heard()
    lab.host.start(job, heard)
    # what a user hands in is what a user was given
    contract = parse({"language": {"lock": heard.lock}})
    assert contract.lock == heard.lock
    other = locked(fresh.job(), contract.lock)
    said = Heard()
    fresh.host.start(other, said)
    assert said.lock == heard.lock
    first, second = layer_of(lab, job), layer_of(fresh, other)
    assert first.name == second.name
    assert first != second
    one, two = hashes(first), hashes(second)
    assert sum(path.endswith(".pyc") for path in one) > 100
    assert {path for path in one.keys() | two.keys() if one.get(path) != two.get(path)} == set()
    assert fresh.python(other, "import attr, numpy; print(numpy.ones(3).sum())") == "3.0"


@pytest.mark.parametrize(
    ("lock", "words", "reason"),
    [
        (f"six==1.17.0 --hash=sha256:{'0' * 64}\n", "[Hh]ash mismatch", Reason.LIBRARIES_NOT_INSTALLED),
        (f"six==0.0.1 --hash=sha256:{'0' * 64}\n", "six==0.0.1", Reason.LIBRARIES_UNRESOLVABLE),
    ],
)
def test_a_lock_that_the_index_does_not_bear_out(lab: Lab, lock: str, words: str, reason: Reason) -> None:
    with pytest.raises(ProvisionError, match=words) as caught:
        lab.host.start(locked(lab.job(), lock), Heard())
    assert caught.value.reason == reason
