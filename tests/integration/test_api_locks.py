"""The lock of an environment: who reads it, when, and that it can be submitted again."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask.testing import FlaskClient
from simulated_host import LOCK, SimulatedHost

from api.services import Services
from common.locks import KEPT_SECONDS, Locks


def submitted(client: FlaskClient, **language: object) -> str:
    answer = client.post("/api/v1/environments", json={"env-name": "locked", "language": language})
    assert answer.status_code == 202, answer.json
    assert answer.json is not None
    return str(answer.json["id"])


def wait_for(client: FlaskClient, env_id: str, state: str) -> None:
    until = time.monotonic() + 20
    while client.get(f"/api/v1/environments/{env_id}").json["state"] != state:  # type: ignore[index]
        assert time.monotonic() < until, f"{env_id} does not become {state}"
        time.sleep(0.02)


def test_there_is_none_before_the_libraries_are_resolved(ada: FlaskClient) -> None:
    env_id = submitted(ada, libraries=["six"])
    answer = ada.get(f"/api/v1/environments/{env_id}/lock")
    assert answer.status_code == 409
    assert "not resolved yet" in answer.json["detail"]  # type: ignore[index]


def test_a_lock_is_submitted_again(ada: FlaskClient, host: SimulatedHost) -> None:
    env_id = submitted(ada, libraries=["six"])
    wait_for(ada, env_id, "running")
    answer = ada.get(f"/api/v1/environments/{env_id}/lock")
    assert (answer.status_code, answer.mimetype, answer.text) == (200, "text/plain", LOCK)
    again = submitted(ada, lock=answer.text)
    assert ada.get(f"/api/v1/environments/{again}").json["contract"]["language"]["lock"] == LOCK  # type: ignore[index]
    wait_for(ada, again, "running")
    assert ada.get(f"/api/v1/environments/{again}/lock").text == LOCK


def test_somebody_elses_is_not_there(
    ada: FlaskClient, client_of: Callable[..., FlaskClient], host: SimulatedHost
) -> None:
    env_id = submitted(ada, libraries=["six"])
    wait_for(ada, env_id, "running")
    bob = client_of("bob")
    assert bob.get(f"/api/v1/environments/{env_id}/lock").status_code == 404
    assert bob.get("/api/v1/environments/nosuchid/lock").status_code == 404


def test_a_lock_is_kept_and_forgotten(parts: Services) -> None:
    locks = Locks(parts.ledger.redis, parts.keys)
    assert locks.get("e1") is None
    locks.put("e1", LOCK)
    assert locks.get("e1") == LOCK
    assert 0 < parts.ledger.redis.ttl(parts.keys.lock("e1")) <= KEPT_SECONDS
    locks.remove("e1")
    assert locks.get("e1") is None
