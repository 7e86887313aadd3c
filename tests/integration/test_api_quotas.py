"""Quotas and hosts over HTTP: who sets them, and that the ledger keeps to them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from simulated_host import SimulatedHost
from test_api import ENVIRONMENTS, problem, submitted, until

from api.services import Services
from common.inventory import Inventory

QUOTA, HOSTS = "/api/v1/quota", "/api/v1/hosts"
ADAS = "/api/v1/users/ada/quota"
NONE = {"environments": None, "cpu_milli": None, "ram_mib": None, "gpus": None, "storage_mib": None}
Clients = Callable[..., FlaskClient]


@pytest.fixture
def root(client_of: Clients) -> FlaskClient:
    return client_of("root", "admin")


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.get_json() if answer.data else None


def test_ones_own_limits_go_before_the_default(root: FlaskClient, ada: FlaskClient) -> None:
    assert ok(ada.get(ADAS)) == {"user": "ada", "limits": NONE, "default": True, "used": dict.fromkeys(NONE, 0)}
    assert ok(root.put(QUOTA, json={"environments": 3})) == {"limits": {**NONE, "environments": 3}, "default": True}
    assert ok(ada.get("/api/v1/users/me/quota"))["limits"] == {**NONE, "environments": 3}
    assert ok(ada.get(QUOTA))["limits"]["environments"] == 3
    given = ok(root.put(ADAS, json={"gpus": 0, "ram_mib": 4096}))
    assert (given["limits"], given["default"]) == ({**NONE, "gpus": 0, "ram_mib": 4096}, False)
    assert ok(root.put(ADAS, json={}))["limits"] == NONE  # no limit at all is one of her own too
    assert ok(ada.get(ADAS))["default"] is False
    assert ok(root.delete(ADAS))["limits"]["environments"] == 3
    assert ok(root.delete(QUOTA))["limits"] == NONE
    assert ok(ada.get(ADAS))["limits"] == NONE


def test_the_ledger_keeps_to_it(root: FlaskClient, ada: FlaskClient, host: SimulatedHost) -> None:
    ok(root.put(ADAS, json={"environments": 1}))
    first = submitted(ada)["id"]
    until(ada, first, "running")
    assert ok(ada.get(ADAS))["used"]["environments"] == 1
    second = submitted(ada)
    assert second["state"] == "queued"
    assert "environments" in ok(ada.get(f"{ENVIRONMENTS}/{second['id']}"))["message"]
    until(root, submitted(root)["id"], "running")  # the others go on
    assert ok(ada.get(f"{ENVIRONMENTS}/{second['id']}"))["state"] == "queued"
    ok(root.delete(ADAS))
    until(ada, second["id"], "running")


def test_only_admins_set_quotas_and_only_their_owner_sees_them(
    root: FlaskClient, ada: FlaskClient, client_of: Clients
) -> None:
    eve = client_of("eve")
    for path in (QUOTA, ADAS):
        for client in (ada, eve):
            problem(client.put(path, json={"gpus": 100}), 403)
            problem(client.delete(path), 403)
    problem(eve.get(ADAS), 404)
    problem(root.get("/api/v1/users/nobody/quota"), 404)
    problem(root.put("/api/v1/users/nobody/quota", json={}), 404)
    problem(root.put("/api/v1/users/*/quota", json={}), 404)


@pytest.mark.parametrize(
    "body",
    [{"gpus": -1}, {"gpus": 1.5}, {"gpus": "1"}, {"gpus": True}, {"gpus": 2**40}, {"gpu": 1}, {"ram_mib": "8GB"}],
)
def test_a_quota_that_makes_no_sense_is_refused(root: FlaskClient, body: dict[str, Any]) -> None:
    assert [error["path"] for error in problem(root.put(ADAS.replace("ada", "root"), json=body), 422)["errors"]] == (
        list(body)
    )


def test_two_admins_do_not_overwrite_each_other(root: FlaskClient, ada: FlaskClient) -> None:
    seen = root.put(ADAS, json={"gpus": 1}).headers["ETag"]
    ok(root.put(ADAS, json={"gpus": 2}, headers={"If-Match": seen}))
    problem(root.put(ADAS, json={"gpus": 3}, headers={"If-Match": seen}), 412)
    problem(root.delete(ADAS, headers={"If-Match": seen}), 412)
    now = root.get(ADAS).headers["ETag"]
    assert ok(root.put(ADAS, json={"gpus": 2, "ram_mib": 1}, headers={"If-Match": now}))["limits"]["ram_mib"] == 1
    assert ok(ada.get(ADAS))["limits"]["gpus"] == 2


# hosts


def test_a_drained_host_takes_nothing_until_it_is_let(root: FlaskClient, ada: FlaskClient, host: SimulatedHost) -> None:
    running = submitted(ada)["id"]
    until(ada, running, "running")
    assert ok(root.post(f"{HOSTS}/sim/drain"))["state"] == "draining"
    assert ok(ada.get(f"{HOSTS}/sim"))["state"] == "draining"
    waiting = submitted(ada)["id"]
    assert ok(ada.get(f"{ENVIRONMENTS}/{running}"))["state"] == "running"
    assert ok(ada.get(f"{ENVIRONMENTS}/{waiting}", headers={"Prefer": "wait=1"}))["state"] == "queued"
    assert ok(root.post(f"{HOSTS}/sim/undrain"))["state"] == "ready"
    until(ada, waiting, "running")


def test_only_a_lost_host_is_forgotten(root: FlaskClient, ada: FlaskClient, parts: Services) -> None:
    parts.ledger.load()
    parts.ledger.register("gone", "i", 0.05, Inventory(machine="m", cpu_milli=1000, ram_mib=100, storage_mib=100))
    assert "lost" in problem(root.delete(f"{HOSTS}/gone"), 409)["detail"]
    time.sleep(0.1)
    parts.ledger.expire()
    problem(ada.delete(f"{HOSTS}/gone"), 403)
    ok(root.delete(f"{HOSTS}/gone"), 204)
    problem(root.get(f"{HOSTS}/gone"), 404)
    assert ok(root.get(HOSTS)) == {"hosts": [], "next": None}


def test_hosts_come_in_pages(ada: FlaskClient, parts: Services) -> None:
    parts.ledger.load()
    for number in range(5):
        inventory = Inventory(machine=f"m{number}", cpu_milli=1000, ram_mib=100, storage_mib=100)
        parts.ledger.register(f"h{number}", "i", 60, inventory)
    names, cursor = [], ""
    while cursor is not None:
        page = ok(ada.get(f"{HOSTS}?limit=2&cursor={cursor}"))
        assert len(page["hosts"]) <= 2
        names += [host["name"] for host in page["hosts"]]
        cursor = page["next"]
    assert names == [f"h{number}" for number in range(5)]
    problem(ada.get(f"{HOSTS}?limit=101"), 400)
    problem(ada.get(f"{HOSTS}?cursor=x"), 400)


@pytest.mark.parametrize("name", ["nobody", "*", "a b", "x" * 100, "%0a"])
def test_a_host_that_there_is_not(root: FlaskClient, name: str) -> None:
    for answer in (
        root.get(f"{HOSTS}/{name}"),
        root.post(f"{HOSTS}/{name}/drain"),
        root.post(f"{HOSTS}/{name}/undrain"),
        root.delete(f"{HOSTS}/{name}"),
    ):
        assert json.loads(answer.text)["status"] == 404
