"""Checks before a submit and explanations after it, on a real ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import simulated_host
from flask.testing import FlaskClient
from simulated_host import SimulatedHost

from api.services import Services
from common import contract
from common.ledger import Quota

CHECK = "/api/v1/environments/check"
SMALL = {"cpu": "1", "ram": "1GiB", "storage": "1GiB"}


def checked(client: FlaskClient, query: str = "", headers: dict[str, str] | None = None, **what: Any) -> dict[str, Any]:
    """The answer to a check."""
    answer = client.post(f"{CHECK}{query}", json=what, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def test_what_fits_starts_now(ada: FlaskClient, host: SimulatedHost) -> None:
    found = checked(ada, resources=SMALL)
    assert (found["verdict"], found["message"], found["change"]) == ("now", "Starts now on sim.", None)
    assert found["libraries"] is None
    [row] = found["hosts"]
    assert (row["host"], row["fits"], row["short"]) == ("sim", True, {})
    assert contract.parse(found["contract"]) == contract.parse({"resources": SMALL})


def test_nothing_is_submitted(ada: FlaskClient, host: SimulatedHost) -> None:
    checked(ada, "?libraries=1", resources=SMALL)
    assert ada.get("/api/v1/environments").get_json()["environments"] == []


def test_without_hosts_it_waits(ada: FlaskClient) -> None:
    found = checked(ada, "?libraries=1", resources=SMALL)
    assert (found["verdict"], found["hosts"], found["libraries"]["verdict"]) == ("wait", [], "unknown")


def test_what_no_host_could_hold_is_never_and_the_change_is_one_that_starts(
    ada: FlaskClient, host: SimulatedHost
) -> None:
    found = checked(ada, resources={**SMALL, "gpu": "H200:4", "ram": "20GiB"})
    assert found["verdict"] == "never"
    assert found["change"] == {"resources": {"gpu": "H200:1", "ram": "16000MiB"}}
    assert "With 1 × H200 and 15.6 GiB RAM it would start now." in found["message"]
    assert found["nearest"]["resources"]["gpu"] == "H200:1"
    assert found["hosts"][0]["short"]["ram_mib"] == {"need": 20480, "free": 16000, "short": 4480}
    assert checked(ada, resources={**SMALL, **found["change"]["resources"]})["verdict"] == "now"


def test_another_gpu_is_proposed_before_none(ada: FlaskClient, host: SimulatedHost) -> None:
    assert checked(ada, resources={**SMALL, "gpu": "A100:1"})["change"] == {"resources": {"gpu": "1"}}


def test_what_is_taken_is_waited_for_as_long_as_it_lives(
    ada: FlaskClient, client_of: Callable[..., FlaskClient], host: SimulatedHost
) -> None:
    holder = ada.post("/api/v1/environments", json={"resources": {**SMALL, "gpu": "1"}, "lifetime": "1h"}).get_json()
    while ada.get(f"/api/v1/environments/{holder['id']}").get_json()["state"] != "running":
        time.sleep(0.02)
    found = checked(ada, resources={**SMALL, "gpu": "1"})
    assert (found["verdict"], found["change"]) == ("wait", {"resources": {"gpu": "0"}})
    assert found["estimate"] == found["hosts"][0]["free_at"] != None  # noqa: E711
    assert "held_by" not in found["hosts"][0]
    [row] = checked(client_of("root", "admin"), resources={**SMALL, "gpu": "1"})["hosts"]
    assert row["held_by"][0]["id"] == holder["id"]

    waiting = ada.post("/api/v1/environments", json={"resources": {**SMALL, "gpu": "1"}}).get_json()["id"]
    told = ada.get(f"/api/v1/environments/{waiting}/explain").get_json()
    assert (told["state"], told["verdict"], told["position"]) == ("queued", "wait", 1)
    assert told["estimate"] == found["estimate"]
    told = ada.get(f"/api/v1/environments/{holder['id']}/explain").get_json()
    assert (told["verdict"], told["message"]) == (None, "It does not wait: it is running.")
    assert client_of("eve").get(f"/api/v1/environments/{waiting}/explain").status_code == 404


def test_over_quota_says_of_what_and_what_would_be_within_it(
    ada: FlaskClient, parts: Services, host: SimulatedHost
) -> None:
    parts.ledger.set_quota("ada", Quota(cpu_milli=1500))
    ada.post("/api/v1/environments", json={"resources": SMALL})
    found = checked(ada, resources=SMALL)
    while found["verdict"] == "now":  # the first is not claimed yet
        found = checked(ada, resources=SMALL)
    assert (found["verdict"], found["quota"], found["change"]) == ("wait", "CPU", {"resources": {"cpu": "500m"}})
    assert "over the quota of CPU" in found["message"]


def test_what_is_over_a_quota_by_itself_is_never_and_the_nearest_is_within_it(
    ada: FlaskClient, parts: Services, host: SimulatedHost
) -> None:
    parts.ledger.set_quota("ada", Quota(cpu_milli=500))
    found = checked(ada, resources=SMALL)
    assert (found["verdict"], found["quota"], found["change"]) == ("never", "CPU", {"resources": {"cpu": "500m"}})
    assert "by itself it is over its owner's quota of CPU" in found["message"]
    assert found["nearest"]["resources"]["cpu"] == "500m"
    asked = {"resources": {**SMALL, "cpu": "500m", "gpu": "H200:4"}}
    assert checked(ada, **asked)["nearest"]["resources"]["gpu"] == "H200:1"
    waiting = ada.post("/api/v1/environments", json={"resources": SMALL, "wait": True}).get_json()["id"]
    told = ada.get(f"/api/v1/environments/{waiting}/explain").get_json()
    assert (told["state"], told["verdict"], told["nearest"]) == ("queued", "never", found["nearest"])


@pytest.mark.parametrize(
    ("quota", "errors"),
    [
        (
            Quota(cpu_milli=500),
            {
                "resources.cpu": "is more than your quota lets you hold; 0.5 cores could be had.",
                "resources.gpu": "is more than any host could ever give; the nearest one has 1 such GPUs.",
            },
        ),
        (
            Quota(gpus=1, ram_mib=512),
            {
                "resources.ram": "is more than your quota lets you hold; 512 MiB could be had.",
                "resources.gpu": "is more than your quota lets you hold; 1 such GPUs could be had.",
            },
        ),
        (Quota(environments=0), {"resources": "is over your quota of environments."}),
    ],
)
def test_what_is_over_a_quota_by_itself_is_refused_with_what_would_not_be(
    ada: FlaskClient, parts: Services, host: SimulatedHost, quota: Quota, errors: dict[str, str]
) -> None:
    parts.ledger.set_quota("ada", quota)
    answer = ada.post("/api/v1/environments", json={"resources": {**SMALL, "gpu": "2"}})
    assert answer.status_code == 422
    found = {error["path"]: error["message"] for error in answer.get_json(force=True)["errors"]}
    assert found.keys() == errors.keys()
    assert all(found[path].startswith(text) for path, text in errors.items())


def test_a_system_that_no_host_has_is_never(ada: FlaskClient, host: SimulatedHost) -> None:
    assert checked(ada, language={"version": "3.11.2"})["verdict"] == "now"
    for wrong in ({"os": {"version": "13"}}, {"language": {"version": "3.1"}}):
        found = checked(ada, **wrong)
        assert found["verdict"] == "never"
        assert "To be had: debian 12 with python 3.11" in found["message"]


def test_a_host_of_an_earlier_version_says_nothing_of_systems(
    ada: FlaskClient, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated_host, "INVENTORY", replace(simulated_host.INVENTORY, offers=()))
    silent = SimulatedHost(redis_url)
    silent.start()
    assert checked(ada, os={"version": "13"})["verdict"] == "now"
    silent.stop()


@pytest.mark.parametrize(("library", "verdict"), [("numpy", "ok"), ("nosuchlib", "conflict")])
def test_libraries_are_resolved_on_a_host(ada: FlaskClient, host: SimulatedHost, library: str, verdict: str) -> None:
    found = checked(ada, "?libraries=1", language={"libraries": [library]})
    assert (found["verdict"], found["libraries"]["verdict"], found["libraries"]["host"]) == ("now", verdict, "sim")
    if verdict == "ok":
        assert found["libraries"]["packages"] == ["numpy==1.0"]
        assert (found["libraries"]["present"], found["libraries"]["download_bytes"]) == (False, 5_000_000)
    else:
        assert "nosuchlib was not found" in found["libraries"]["message"]


def test_libraries_that_take_too_long_are_unknown_and_the_host_is_let_go(ada: FlaskClient, host: SimulatedHost) -> None:
    began = time.monotonic()
    found = checked(ada, "?libraries=1", {"Prefer": "wait=1"}, language={"libraries": ["slow"]})
    assert time.monotonic() - began < 5
    assert found["libraries"]["verdict"] == "unknown"
    assert "after 1 s" in found["libraries"]["message"]


def test_who_has_much_open_asks_no_host(ada: FlaskClient, host: SimulatedHost, parts: Services) -> None:
    for _ in range(parts.settings.stream_limit):
        parts.openings.begin("ada")
    assert ada.post(f"{CHECK}?libraries=1", json={"language": {"libraries": ["numpy"]}}).status_code == 429
    assert ada.post(CHECK, json={}).status_code == 200
    parts.openings.end("ada")
    assert checked(ada, "?libraries=1", language={"libraries": ["numpy"]})["libraries"]["verdict"] == "ok"


def test_a_host_that_is_deaf_makes_libraries_unknown(
    ada: FlaskClient, host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.become_deaf()
    monkeypatch.setattr("common.channel.OPEN_SECONDS", 1)
    found = checked(ada, "?libraries=1", language={"libraries": ["numpy"]})
    assert (found["verdict"], found["libraries"]["verdict"]) == ("now", "unknown")
    assert "does not answer" in found["libraries"]["message"]


def test_a_contract_with_problems_is_refused_as_at_submit(ada: FlaskClient) -> None:
    answer = ada.post(CHECK, json={"resources": {"ram": "x"}})
    assert answer.status_code == 422
    assert answer.get_json(force=True)["errors"][0]["path"] == "resources.ram"
