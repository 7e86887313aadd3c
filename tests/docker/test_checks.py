"""Libraries checked on a real host before anyone submits them."""

from __future__ import annotations

import pytest
from lab import Lab

from workers.checks import check

pytestmark = pytest.mark.usefixtures("engine")


def nothing() -> None:
    return


def test_what_is_not_here_is_weighed_and_not_installed(lab: Lab) -> None:
    contract = lab.job("toolz==1.0.0").contract
    found = check(lab.host, contract, nothing)
    assert found.verdict == "ok", found.message
    assert "toolz==1.0.0" in found.packages
    assert any(name.startswith("pip==") for name in found.packages)
    assert (found.present, found.installed_bytes) == (False, None)
    assert found.download_bytes is None or found.download_bytes > 50_000
    assert check(lab.host, contract, nothing).present is False  # the lock is known now, the layer still not made


def test_what_is_here_is_said_to_be(lab: Lab) -> None:
    job = lab.start("six")
    found = check(lab.host, job.contract, nothing)
    assert (found.verdict, found.present, found.download_bytes) == ("ok", True, None)
    assert found.installed_bytes is not None
    assert found.installed_bytes > 10_000


def test_what_cannot_be_together_is_explained(lab: Lab) -> None:
    found = check(lab.host, lab.job("numpy<2", "numpy>=2").contract, nothing)
    assert found.verdict == "conflict"
    assert found.message.startswith("Because this-contract depends on numpy<2 and numpy>=2")


def test_a_client_that_has_gone_ends_it_and_leaves_nothing(lab: Lab) -> None:
    def gone() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        check(lab.host, lab.job("six>=1,<1.16").contract, gone)
    assert list((lab.host.builders.store / "work").iterdir()) == []
