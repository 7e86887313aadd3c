"""Imports over HTTP and from the command line."""

from __future__ import annotations

import io
from typing import Any

import pytest
from flask.testing import FlaskClient
from simulated_host import SimulatedHost

from api.services import Services

AT = "/api/v1/environments/import"


def test_a_file_becomes_a_contract_and_nothing_is_kept(ada: FlaskClient, parts: Services) -> None:
    ada.get("/api/v1/environments")
    before = sorted(parts.ledger.redis.keys())
    for answer in (
        ada.post(f"{AT}?filename=requirements.txt", data="numpy\n-e .", content_type="text/plain"),
        ada.post(f"{AT}?format=requirements.txt", data="numpy\n-e .", content_type="text/plain"),
        ada.post(AT, data={"file": (io.BytesIO(b"numpy\n-e ."), "requirements.txt")}),
    ):
        assert answer.status_code == 200, answer.text
        found = answer.get_json()
        assert found["format"] == "requirements.txt"
        assert found["contract"]["language"] == {"image-name": "python", "version": "3.11", "libraries": ["numpy"]}
        assert [problem["path"] for problem in found["left_out"]] == ["line 2"]
    assert sorted(parts.ledger.redis.keys()) == before
    assert ada.post("/api/v1/environments", json=found["contract"]).status_code == 202


def test_the_pythons_are_those_of_live_hosts(ada: FlaskClient, host: SimulatedHost) -> None:
    answer = ada.post(f"{AT}?format=environment.yml", data="dependencies: [python=3.12]").get_json()
    assert "To be had: 3.11" in answer["left_out"][0]["message"]


def test_a_lock_may_be_larger_than_a_contract(ada: FlaskClient) -> None:
    lock = b"version = 1\n" + b"# " + b"x" * 900_000
    assert ada.post(f"{AT}?format=uv.lock", data=lock).status_code == 200
    assert ada.post(f"{AT}?format=uv.lock", data=lock * 2).status_code == 413
    assert ada.post("/api/v1/environments", data=lock, content_type="application/json").status_code == 413


@pytest.mark.parametrize(
    ("query", "what", "status"),
    [
        ("", {"data": "numpy"}, 415),
        ("?format=setup.py", {"data": "numpy"}, 415),
        ("?filename=contract.json", {"data": "{}"}, 415),
        ("", {"data": {"a": (io.BytesIO(b""), "a.txt"), "b": (io.BytesIO(b""), "b.txt")}}, 400),
        ("?format=uv.lock", {"data": "x"}, 422),
        ("?format=requirements.txt", {}, 422),
        ("?format=pyproject.toml", {"data": "x"}, 422),
    ],
)
def test_what_cannot_be_read_is_refused(ada: FlaskClient, query: str, what: dict[str, Any], status: int) -> None:
    assert ada.post(f"{AT}{query}", **what).status_code == status
