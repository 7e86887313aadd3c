"""`/metrics` of the API, and the way of a request's id into the logs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from api_fixtures import Server, serving
from flask.testing import FlaskClient
from simulated_host import SimulatedHost

from api.services import Services
from deploy.redis_server import free_port

ENVIRONMENTS = "/api/v1/environments"
Clients = Callable[..., FlaskClient]


def values(text: str) -> dict[str, float]:
    """Each sample and its value."""
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def submit(client: Any, **what: Any) -> Any:
    answer = client.post(ENVIRONMENTS, json=what)
    assert answer.status_code == 202
    return answer


def test_the_queue_is_told_by_shape(client_of: Clients) -> None:
    root = client_of("root", "admin")
    for _ in range(3):
        submit(root, resources={"cpu": "2", "ram": "4GiB", "storage": "1GiB", "gpu": "A100:80GB:4"})
    submit(root)
    found = values(root.get("/metrics").text)
    depths = {name: value for name, value in found.items() if name.startswith("dcloud_queue_depth{")}
    assert sorted(depths.values()) == [1, 3]
    [three] = [name for name, value in depths.items() if value == 3]
    assert re.search(r'shape="2000:4096:1024:4:\d+:A100:debian 12 python 3.11"', three)
    assert found[three.replace("depth", "head_age_seconds")] >= 0


def test_an_empty_ledger_has_no_queue(client_of: Clients) -> None:
    assert "dcloud_queue_depth{" not in client_of("root", "admin").get("/metrics").text


def test_capacity_is_told_by_host_total_and_free(client_of: Clients, host: SimulatedHost) -> None:
    root = client_of("root", "admin")
    before = values(root.get("/metrics").text)
    env_id = submit(root, resources={"cpu": "3", "ram": "1GiB", "storage": "1GiB", "gpu": "1"}).get_json()["id"]
    while root.get(f"{ENVIRONMENTS}/{env_id}").get_json()["state"] != "running":
        pass
    after = values(root.get("/metrics").text)

    def taken(resource: str) -> float:
        name = f'dcloud_host_free{{host="sim",resource="{resource}"}}'
        return before[name] - after[name]

    assert (taken("cpu_cores"), taken("ram_bytes"), taken("storage_bytes"), taken("gpus")) == (3, 2**30, 2**30, 1)
    assert after['dcloud_host_capacity{host="sim",resource="gpus"}'] == 1
    assert after['dcloud_host_up{host="sim",state="ready"}'] == 1
    assert after['dcloud_host_environments{host="sim"}'] == 1


def test_only_admins_read_it(client_of: Clients, ada: FlaskClient, app: Any) -> None:
    assert ada.get("/metrics").status_code == 403
    assert client_of("root", "admin", scopes=["read"]).get("/metrics").status_code == 403
    assert app.test_client().get("/metrics").status_code == 401


def test_the_processes_of_an_api_count_together_and_watchers_come_and_go(
    redis_url: str, tmp_path: Path, token_of: Any
) -> None:
    with (
        serving(redis_url, free_port(), tmp_path / "api.log") as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=20) as http,
    ):
        http.headers["Authorization"] = f"Bearer {token_of('root', 'admin')}"
        name = 'dcloud_http_requests_total{method="GET",route="/api/v1/hosts",status="200"}'
        before = values(http.get("/metrics").text)
        for _ in range(20):  # a connection of its own each, so that both processes get some
            httpx.get(f"{server.url}/api/v1/hosts", headers=http.headers, trust_env=False)
        after = values(http.get("/metrics").text)
        assert after[name] - before.get(name, 0) == 20

        env_id = submit(http).json()["id"]
        sse = {**http.headers, "Accept": "text/event-stream"}
        with httpx.stream("GET", f"{server.url}{ENVIRONMENTS}/{env_id}/events", headers=sse, trust_env=False) as live:
            next(live.iter_lines())
            assert values(http.get("/metrics").text)["dcloud_watchers"] == 1


def test_the_id_of_a_request_goes_with_the_environment(ada: FlaskClient, parts: Services) -> None:
    answer = ada.post(ENVIRONMENTS, json={}, headers={"X-Request-Id": "from-the-portal.7"})
    job = parts.ledger.job(answer.get_json()["id"])
    assert job.origin == "from-the-portal.7" == answer.headers["X-Request-Id"]


def test_the_servers_log_is_json(server: Server) -> None:
    lines = server.log.read_text().splitlines()
    said = [json.loads(line) for line in lines if line.startswith("{")]
    assert any("Booting worker" in one["message"] for one in said)
