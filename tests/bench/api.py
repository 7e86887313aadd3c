"""The HTTP API beside an empty Flask view on the same server, with many clients, and with thousands that watch."""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from ledger_parts import OneHost

from bench.http_load import Load, load, request
from bench.pairs import in_turn
from bench.processes import process, until
from bench.report import Report
from bench.watchers import Watchers
from common.accounts import Accounts
from common.inventory import Offer
from common.ledger import Ledger
from common.settings import Settings
from common.states import Phase, State
from deploy import redis_server

CONTRACT = {"env-name": "bench", "resources": {"ram": "64MiB", "cpu": "0.01", "storage": "64MiB"}}
WATCHED = 100  # environments, each with the same number of watchers
EVENTS_A_SECOND = 100


class Served:
    """The API on a Redis of its own, in one process; a user, and environments that are being made."""

    def __init__(self, directory: Path):
        self.port, password = redis_server.free_port(), "bench"
        redis_port = redis_server.free_port()
        self.redis_url = redis_server.url(redis_port, password)
        self.redis = redis_server.command(redis_server.find_server(), directory / "redis", redis_port, password)
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            **os.environ,
            "DCLOUD_REDIS_URL": self.redis_url, "DCLOUD_API_BIND": f"127.0.0.1:{self.port}",
            "DCLOUD_VAR_DIR": str(directory), "DCLOUD_RATE_LIMIT": "0", "DCLOUD_STREAM_LIMIT": "0",
        }  # fmt: skip
        gunicorn = str(Path(sys.executable).with_name("gunicorn"))
        self.command = [gunicorn, "-c", "deploy/gunicorn_conf.py", "--workers", "1", "bench.served:create()"]

    def fill(self) -> None:
        """Make a user with a token, a host, and what it makes."""
        settings = Settings.from_env(self.env)
        self.ledger = Ledger.connect(settings)
        accounts = Accounts(self.ledger.redis, self.ledger.keys)
        accounts.create_user("bench")
        self.token = accounts.create_token("bench")
        room = {"cpu_milli": 10**9, "ram_mib": 10**9, "storage_mib": 10**9}
        offers = (Offer("debian", "12", "python", ("3.11",)),)  # as a worker says: then a submit looks at no hosts
        self.host = OneHost(self.ledger, "bench", lease_seconds=10**6, offers=offers, **room)
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx.Client(base_url=self.url, headers=headers, trust_env=False) as http:
            for _ in range(WATCHED):
                http.post("/api/v1/environments", json=CONTRACT).raise_for_status()
        self.jobs = [self.host.claim() for _ in range(WATCHED)]
        for job in self.jobs:
            self.ledger.advance("bench", self.host.epoch, job, State.BUILDING, progress=5, message="")

    def requests(self, method: str, path: str, body: str = "") -> Callable[[], bytes]:
        """The same request again and again."""
        text = request(self.url, method, path, self.token, body)
        return lambda: text


def run(report: Report, quick: bool) -> None:
    """All figures of the API."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each watcher is a file
    with tempfile.TemporaryDirectory() as directory:
        served, log = Served(Path(directory)), Path(directory) / "api.log"
        with process(served.redis, served.env, Path(directory) / "redis.log"):
            redis_server.wait_until_it_answers(served.redis_url)
            with process(served.command, served.env, log) as gunicorn:
                until(lambda: _answers(served.url), "the API answers", log)
                served.fill()
                _throughput(report, served, quick)
                _crowd(report, served, quick)
                _watchers(report, served, gunicorn.pid, quick)
            served.ledger.redis.close()


def _throughput(report: Report, served: Served, quick: bool) -> None:
    length, rounds, path = (0.5, 3, "/api/v1/environments") if quick else (2.0, 9, "/api/v1/environments")
    one = f"{path}/{served.jobs[0].id}"
    for name, method, where, body, at_least in (
        ("GET /environments/{id}", "GET", one, "", 0.7),
        ("POST /environments", "POST", path, json.dumps(CONTRACT), 0.5),
    ):
        ours, empty = served.requests(method, where, body), served.requests(method, "/empty/", body)
        pairs = in_turn(
            lambda: _good(load(served.url, ours, 8, length)).rate,  # noqa: B023
            lambda: _good(load(served.url, empty, 8, length)).rate,  # noqa: B023
            rounds,
        )
        report.add(
            f"{name} ÷ an empty view", pairs.ratio, "×",
            f"{pairs.median_a:.0f} to {pairs.median_b:.0f} answers/s of one process, 8 clients", at_least=at_least,
        )  # fmt: skip


def _crowd(report: Report, served: Served, quick: bool) -> None:
    one = f"/api/v1/environments/{served.jobs[0].id}"
    for name, path in (("GET /environments/{id}", one), ("an empty view", "/empty/")):
        found = _good(load(served.url, served.requests("GET", path), 200, 2 if quick else 10))
        report.add(
            f"200 clients, {name}: p99", found.percentile(99) * 1000, "ms",
            f"{found.rate:.0f} answers/s, median {found.percentile(50) * 1000:.0f} ms, {found.refused} refused",
        )  # fmt: skip


def _watchers(report: Report, served: Served, gunicorn: int, quick: bool) -> None:
    count, length = (200, 5) if quick else (2000, 20)
    ids = [job.id for job in served.jobs]
    before = _resident_bytes(gunicorn)
    with Watchers(served.url, served.token, ids, count, told=3) as watchers:
        after, subscriptions = _resident_bytes(gunicorn), len(served.ledger.redis.client_list(_type="pubsub"))
        watchers.delays.clear()
        answers = _let_events_pass(served, length)
        time.sleep(1)
        delays, lost = sorted(watchers.delays), watchers.lost + watchers.refused
    expected = EVENTS_A_SECOND * length * count // WATCHED
    where = f"{count} watchers of one process, {EVENTS_A_SECOND} events/s"
    report.add("watchers: memory each", (after - before) / count / 1024, "KiB", where)
    report.add("watchers: subscriptions of Redis", subscriptions, "", f"of all of them; {where}", at_most=1)
    p99 = delays[int(len(delays) * 0.99)] * 1000 if delays else None
    report.add("watchers: delay p99", p99, "ms", f"from written to received; {where}")
    report.add("watchers: events that came", 100 * len(delays) / expected, "%", f"{lost} streams ended", at_least=100)
    report.add("watchers: GET meanwhile, p99", sorted(answers)[int(len(answers) * 0.99)] * 1000, "ms", where)


def _let_events_pass(served: Served, length: float) -> list[float]:
    """Events at their rate for so long; meanwhile somebody asks now and then: seconds of each answer."""
    answers, began, written = [], time.monotonic(), 0
    headers = {"Authorization": f"Bearer {served.token}"}
    with httpx.Client(base_url=served.url, headers=headers, trust_env=False, timeout=30) as http:
        while written < EVENTS_A_SECOND * length:
            job = served.jobs[written % WATCHED]
            served.ledger.progress("bench", served.host.epoch, job, Phase.LIBRARIES, 50, f"step {written}")
            written += 1
            if written % 20 == 0:
                answers.append(http.get(f"/api/v1/environments/{job.id}").raise_for_status().elapsed.total_seconds())
            time.sleep(max(0.0, began + written / EVENTS_A_SECOND - time.monotonic()))
    return answers


def _good(found: Load) -> Load:
    if found.refused:
        raise RuntimeError(f"{found.refused} of {len(found.delays)} answers were no success: {found.refusal}")
    return found


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _resident_bytes(gunicorn: int) -> int:
    """Of gunicorn's worker."""
    children = Path(f"/proc/{gunicorn}/task/{gunicorn}/children").read_text().split()
    sizes = [re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{child}/status").read_text()) for child in children]
    return max(int(size[1]) for size in sizes if size) * 1024
