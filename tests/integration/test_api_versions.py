"""`If-Match` where two write at the same time: the comparison and the change are one step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from simulated_host import SimulatedHost
from test_api import ENVIRONMENTS, problem, submitted, until

from api import conditions
from api.services import Services
from common.errors import Changed
from common.inventory import Inventory
from common.records import Quota

V1 = "/api/v1"
ADA = f"{V1}/users/ada"
WORDS = "correct horse battery"
Clients = Callable[..., FlaskClient]
Call = tuple[str, str, Any]  # method, address, body


@pytest.fixture
def roots(client_of: Clients) -> tuple[FlaskClient, FlaskClient]:
    """Two admins."""
    return client_of("root", "admin"), client_of("rita", "admin")


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both writers look at what there is before either of them changes it."""
    both, came, real = threading.Barrier(2, timeout=20), threading.local(), conditions.require

    def require(etag: str) -> None:
        real(etag)
        if not hasattr(came, "once"):
            came.once = True
            both.wait()

    monkeypatch.setattr(conditions, "require", require)


def both(clients: tuple[FlaskClient, FlaskClient], calls: tuple[Call, Call], etag: str) -> list[int]:
    """The statuses that two writers get who hold the same ETag, the smaller first."""

    def ask(client: FlaskClient, call: Call) -> int:
        method, address, body = call
        return client.open(address, method=method, json=body, headers={"If-Match": etag}).status_code

    with ThreadPoolExecutor(2) as pool:
        return sorted(pool.map(ask, clients, calls))


def changing(method: str, address: str, *bodies: Any) -> tuple[Call, Call]:
    one, other = bodies
    return (method, address, one), (method, address, other)


CASES = {
    "an account": changing("PATCH", ADA, {"role": "admin"}, {"disabled": True}),
    "a password": changing("PUT", f"{ADA}/password", {"password": WORDS}, {"password": f"{WORDS} 2"}),
    "a quota": changing("PUT", f"{ADA}/quota", {"gpus": 1}, {"gpus": 2}),
    "no quota": (("PUT", f"{ADA}/quota", {"gpus": 1}), ("DELETE", f"{ADA}/quota", None)),
    "the default quota": changing("PUT", f"{V1}/quota", {"gpus": 1}, {"gpus": 2}),
    "a template": changing(
        "PUT", f"{V1}/templates/lab", {"title": "1", "contract": {}}, {"title": "2", "contract": {}}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_of_two_who_saw_the_same_one_is_told(
    name: str, roots: tuple[FlaskClient, FlaskClient], parts: Services, request: pytest.FixtureRequest
) -> None:
    parts.accounts.create_user("ada")
    parts.ledger.load()
    parts.ledger.set_quota("ada", Quota(gpus=8))
    assert roots[0].post(f"{V1}/templates", json={"name": "lab", "contract": {}}).status_code == 201
    at = CASES[name][0][1]
    etag = roots[0].get(at.removesuffix("/password")).headers["ETag"]
    request.getfixturevalue("together")
    first, second = both(roots, CASES[name], etag)
    assert (first in (200, 204), second) == (True, 412)


@pytest.mark.parametrize(
    ("made", "method", "suffix", "statuses"),
    [
        ((f"{V1}/tokens", {"name": "ci"}), "POST", "/rotate", {(201, 412)}),
        ((f"{V1}/tokens", {"name": "ci"}), "DELETE", "", {(204, 404)}),
        ((f"{V1}/webhooks", {"url": "https://example.org/"}), "DELETE", "", {(204, 404)}),
        ((f"{V1}/templates", {"name": "lab", "contract": {}}), "DELETE", "", {(204, 404)}),
    ],
)
def test_what_is_taken_or_replaced_is_so_once(
    made: tuple[str, Any], method: str, suffix: str, statuses: set[tuple[int, int]], ada: FlaskClient,
    client_of: Clients, request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    at = ada.post(made[0], json=made[1]).headers["Location"]
    etag = ada.get(at).headers["ETag"]
    request.getfixturevalue("together")
    call = (method, f"{at}{suffix}", {} if suffix else None)
    assert tuple(both((ada, client_of("ada")), (call, call), etag)) in statuses


def test_of_two_who_want_other_storage_one_is_told(
    ada: FlaskClient, client_of: Clients, host: SimulatedHost, request: pytest.FixtureRequest
) -> None:
    env_id = submitted(ada, resources={"storage": "1GiB"})["id"]
    at = f"{ENVIRONMENTS}/{env_id}"
    until(ada, env_id, "running")
    ada.post(f"{at}/stop")
    until(ada, env_id, "stopped")
    etag = ada.get(at).headers["ETag"]
    request.getfixturevalue("together")
    calls = changing("PUT", f"{at}/storage", {"storage": "3GB"}, {"storage": "4GB"})
    assert both((ada, client_of("ada")), calls, etag) == [200, 412]


def test_a_host_is_drained_as_it_was_seen(roots: tuple[FlaskClient, FlaskClient], parts: Services) -> None:
    root, at, ledger = roots[0], f"{V1}/hosts/sim", parts.ledger
    ledger.load()
    epoch = ledger.register("sim", "i", 60, Inventory(machine="m", cpu_milli=8000, ram_mib=8000, storage_mib=8000))
    ready, seen = root.get(at).headers["ETag"], ledger.hosts()[0]
    ledger.heartbeat("sim", epoch)
    assert root.get(at, headers={"If-None-Match": ready}).status_code == 304
    drained = root.post(f"{at}/drain", headers={"If-Match": ready})
    assert (drained.status_code, drained.get_json()["state"]) == (200, "draining")
    assert drained.headers["ETag"] == root.get(at).headers["ETag"] != ready
    for call in (root.post(f"{at}/undrain", headers={"If-Match": ready}), root.delete(at, headers={"If-Match": ready})):
        problem(call, 412)
    for act in (lambda: ledger.drain("sim", False, seen), lambda: ledger.forget("sim", seen=seen)):
        with pytest.raises(Changed):
            act()
    ledger.drain("sim", True, seen)  # is so already: a call that was sent twice
    ledger.drain("sim", False, ledger.hosts()[0])
    assert root.get(at).headers["ETag"] == ready


def test_a_version_is_of_what_a_host_holds_too(parts: Services, host: SimulatedHost, ada: FlaskClient) -> None:
    ledger = parts.ledger
    until(ada, submitted(ada)["id"], "running")
    [seen] = ledger.hosts()
    ledger.drain(seen.name, True, seen)
    assert ledger.hosts()[0].state == "draining"


def test_nothing_is_done_where_no_version_could_be_compared(ada: FlaskClient, parts: Services) -> None:
    parts.ledger.load()
    answer = ada.post(f"{V1}/tokens", json={"name": "ci"}, headers={"If-Match": '"x"'})
    assert "no" in problem(answer, 412)["detail"]
    assert len(ada.get(f"{V1}/tokens").get_json()["tokens"]) == 1
    assert ada.post(f"{V1}/tokens", json={"name": "ci"}, headers={"If-Match": "*"}).status_code == 201


def test_a_look_has_its_condition_too(ada: FlaskClient) -> None:
    for at in (f"{V1}/users/me", f"{V1}/templates/python"):
        etag = ada.get(at).headers["ETag"]
        assert ada.get(at, headers={"If-Match": etag}).status_code == 200
        problem(ada.get(at, headers={"If-Match": '"x"'}), 412)
