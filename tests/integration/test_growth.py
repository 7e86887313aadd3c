"""More storage for a stopped environment: accounted for before it is there."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest
from flask.testing import FlaskClient
from ledger_parts import OneHost, wants
from simulated_host import SimulatedHost
from test_api import ENVIRONMENTS, problem, submitted, until
from test_cli import dcloud, environ, submit

from common.errors import IllegalTransition
from common.ledger import Ledger, Quota

__all__ = ["dcloud", "environ"]
pytest_plugins = ["ledger_fixtures"]


@pytest.fixture
def one(ledger: Ledger) -> OneHost:
    """A host with 100,000 MiB of storage, of which a stopped environment has 1,024."""
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    host.run(host.claim())
    host.stop("e1")
    return host


def test_what_grows_is_taken_from_what_is_free_and_given_back_whole(ledger: Ledger, one: OneHost) -> None:
    for _ in range(2):  # a second time it is what it is
        grown = ledger.grow("e1", 5000)
        assert grown.contract.resources.storage_mib == 5000
        assert one.view.free_storage_mib == 95_000
        assert ledger.quota("ann")[1].storage_mib == 5000
    ledger.start("e1")
    job = one.claim()
    assert (job.contract.resources.storage_mib, job.has_storage) == (5000, True)
    assert one.view.free_storage_mib == 95_000
    one.run(job)
    with pytest.raises(IllegalTransition, match="It is running"):
        ledger.grow("e1", 6000)
    one.end("e1")
    assert one.view.free_storage_mib == 100_000
    assert ledger.quota("ann")[1].storage_mib == 0


def test_no_more_than_there_is_and_no_less_than_it_has(ledger: Ledger, one: OneHost) -> None:
    with pytest.raises(IllegalTransition, match="98976 MiB of storage free"):
        ledger.grow("e1", 100_001)
    with pytest.raises(IllegalTransition, match="not shrink"):
        ledger.grow("e1", 1023)
    ledger.set_quota("ann", Quota(storage_mib=2000))
    with pytest.raises(IllegalTransition, match="quota"):
        ledger.grow("e1", 2001)
    assert ledger.get("e1").contract.resources.storage_mib == 1024
    assert ledger.grow("e1", 2000).message == "Its storage is 2000 MiB from the next start on"
    ledger.grow("e1", 2000)
    assert one.view.free_storage_mib == 98_000


def test_over_http(ada: FlaskClient, host: SimulatedHost, client_of: Callable[..., FlaskClient]) -> None:
    env_id = submitted(ada, resources={"storage": "1GiB"})["id"]
    at = f"{ENVIRONMENTS}/{env_id}/storage"
    until(ada, env_id, "running")
    assert "It is running" in problem(ada.put(at, json={"storage": "2GiB"}), 409)["detail"]
    ada.post(f"{ENVIRONMENTS}/{env_id}/stop")
    until(ada, env_id, "stopped")
    problem(client_of("eve").put(at, json={"storage": "2GiB"}), 404)
    answer = ada.put(at, json={"storage": "2GiB"})
    assert answer.status_code == 200
    assert answer.get_json()["contract"]["resources"]["storage"] == "2048MiB"
    for body in ({}, {"storage": "much"}, {"storage": "1MiB"}, {"storage": 5}, {"storage": "2GiB", "x": 1}):
        assert problem(ada.put(at, json=body), 422)["errors"]
    problem(ada.put(at, json={"storage": "1TiB"}), 409)


def test_the_command(dcloud: Callable[..., CompletedProcess[str]], host: SimulatedHost) -> None:
    submit(dcloud, resources={"storage": "1GiB"})
    assert dcloud("stop", "lab").returncode == 0
    for _ in range(50):
        if '"stopped"' in dcloud("show", "lab", "--json").stdout:
            break
    done = dcloud("grow", "lab", "2GiB")
    assert done.returncode == 0, done.stderr
    assert "2048MiB" in dcloud("show", "lab", "--json").stdout
    done = dcloud("grow", "lab", "1GiB")
    assert done.returncode == 2
    assert "not shrink" in done.stderr
