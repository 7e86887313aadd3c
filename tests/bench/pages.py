"""What the pages cost the server with 200 environments and 50 hosts: to draw once, and to keep alive."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from pathlib import Path

from flask.testing import FlaskClient
from ledger_parts import OneHost

import api
from api.services import Services
from bench.processes import process
from bench.report import Report
from common import contract, ids
from common.ledger import Ledger
from common.settings import Settings
from common.states import State
from deploy import redis_server

ENVIRONMENTS, HOSTS, HELD_BY_ONE = 200, 50, 3
PAGES = {"my environments": "/", "hosts": "/hosts", "the form": "/new?key=000000000000000", "the queue": "/queue"}


def run(report: Report, quick: bool) -> None:
    """CPU time of the process that answers; waiting for others on the machine is not in it."""
    with tempfile.TemporaryDirectory() as directory:
        port = redis_server.free_port()
        address = redis_server.url(port, "bench")
        command = redis_server.command(redis_server.find_server(), Path(directory) / "redis", port, "bench")
        with process(command, {}, Path(directory) / "redis.log"):
            redis_server.wait_until_it_answers(address)
            settings = Settings.from_env({"DCLOUD_REDIS_URL": address, "DCLOUD_VAR_DIR": directory})
            _fill(Ledger.connect(settings))
            app = api.create_app(settings)
            parts: Services = app.extensions["dcloud"]
            parts.accounts.create_user("root", "admin")
            client = app.test_client()
            client.post("/sign-in", data={"token": parts.accounts.create_token("root")})
            _measure(report, client, 3 if quick else 20)


def _measure(report: Report, client: FlaskClient, times: int) -> None:
    what = f"{ENVIRONMENTS} environments, {HOSTS} hosts"
    for name, path in PAGES.items():
        spent = _spent_ms(client, f"{path}?of=everyone" if path == "/" else path, times)
        report.add(f"a page's first paint, server time: {name}", spent, "ms", what, at_most=300)
    text = client.get("/?of=everyone").text
    found = re.search(r'data-seconds="([0-9.]+)"', text)
    assert found, text[:500]
    share = _spent_ms(client, "/?of=everyone", times) / (float(found[1]) * 1000)
    report.add("a live table of 200 rows", share * 100, "% of a core", f"drawn every {found[1]} s", at_most=5)


def _spent_ms(client: FlaskClient, path: str, times: int) -> float:
    client.get(path)
    spent = []
    for _ in range(times):
        began = time.process_time()
        assert client.get(path).status_code == 200, path
        spent.append((time.process_time() - began) * 1000)
    return statistics.median(spent)


def _fill(ledger: Ledger) -> None:
    asked = {"env-name": "bench", "resources": {"cpu": "2", "ram": "8GB", "storage": "20GB"}, "lifetime": "8h"}
    for _ in range(ENVIRONMENTS):
        ledger.submit(ids.new_id(), "ada", contract.parse(asked))
    for number in range(HOSTS):
        host = OneHost(
            ledger, f"host-{number}", lease_seconds=10**6, cpu_milli=64_000, ram_mib=512_000, storage_mib=4_000_000
        )
        for _ in range(HELD_BY_ONE):
            job = host.claim()
            ledger.advance(host.name, host.epoch, job, State.BUILDING, progress=5, message="Preparing")
