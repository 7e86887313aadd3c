"""From submit to a task that has begun, beside a bare Celery round trip; and what a worker costs Redis while it idles.

Both workers are processes as they are in production, on one Redis that keeps every write. Our environments ask for a
variant of their OS that there is not, so that they end as soon as their task has begun.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.pairs import in_turn, seconds
from bench.processes import process, until
from bench.report import Report
from common import contract, ids
from common.ledger import Ledger
from common.settings import Settings
from deploy import redis_server
from workers.provision import Host

PREFIX = "bench"
IDLE_SECONDS = 120.0
EVENTS_UNTIL_BEGUN = 3  # queued, claimed, building


def run(report: Report, directory: Path, quick: bool) -> None:
    """Start both workers and measure them in turn."""
    port, password = redis_server.free_port(), "bench"
    url = redis_server.url(port, password)
    command = redis_server.command(redis_server.find_server(), directory / "redis", port, password)
    env = {
        **os.environ,
        "DCLOUD_REDIS_URL": url, "DCLOUD_KEY_PREFIX": PREFIX, "DCLOUD_HOST_NAME": "bench",
        "DCLOUD_DATA_DIR": str(directory / "data"), "DCLOUD_VAR_DIR": str(directory),
        "DCLOUD_CAPACITY_CPU": "10000", "DCLOUD_CAPACITY_RAM": "10TiB",
    }  # fmt: skip
    with process(command, env, directory / "redis.log"):
        redis_server.wait_until_it_answers(url)
        ledger = Ledger.connect(Settings(redis_url=url, key_prefix=PREFIX))
        with process([sys.executable, "-m", "workers"], env, directory / "worker.log"):
            until(ledger.hosts, "the worker joins", directory / "worker.log")
            time.sleep(5)  # its first sweep
            _idle(report, ledger, url, directory, 20 if quick else IDLE_SECONDS)
            bare = [sys.executable, "-m", "celery", "-A", "bench.bare", "worker", "--pool=threads", "--concurrency=8",
                    "--without-gossip", "--without-mingle", "--loglevel=WARNING"]  # fmt: skip
            with process(bare, env, directory / "bare.log"):
                _beside_bare(report, ledger, url, 5 if quick else 40)
        ledger.redis.close()
    host = Host(Settings.from_env(env))
    host.teardown()
    host.close()


def _idle(report: Report, ledger: Ledger, url: str, directory: Path, length_seconds: float) -> None:
    heard = directory / "monitor.log"
    at = urlsplit(url)
    listen = ["redis-cli", "-h", at.hostname or "", "-p", str(at.port), "monitor"]
    with process(listen, {**os.environ, "REDISCLI_AUTH": at.password or ""}, heard):
        time.sleep(length_seconds)
    lines = [line for line in heard.read_text(errors="replace").splitlines() if line[:1].isdigit()]
    if not lines:
        raise RuntimeError(f"nothing was heard of Redis: {heard.read_text()[:200]}")
    inside = sum(" lua]" in line for line in lines)
    report.add(
        "an idle worker sends", (len(lines) - inside) / length_seconds, "commands/s",
        f"over {length_seconds:.0f} s; its functions call {inside / length_seconds:.1f} more inside the server",
        at_most=0.3,
    )  # fmt: skip
    clients = ledger.redis.info("clients")["connected_clients"] - 1
    report.add("an idle worker holds", clients, "connections", "to Redis, Celery's and ours")


def _beside_bare(report: Report, ledger: Ledger, url: str, rounds: int) -> None:
    os.environ["DCLOUD_REDIS_URL"] = url
    from bench.bare import noop

    watched = ledger.redis.pubsub(ignore_subscribe_messages=True)
    watched.subscribe(ledger.keys.feed())
    watched.get_message(timeout=1)

    def submitted(count: int) -> None:
        names = {ids.new_id() for _ in range(count)}
        for env_id in names:
            ledger.submit(env_id, "bench", _unmakeable())
        _until_begun(watched, names)

    def sent(count: int) -> None:
        for result in [noop.delay() for _ in range(count)]:
            result.get(timeout=60)

    for count, name in ((1, "one"), (100, "a hundred at once")):
        for act in (sent, submitted):
            act(count)  # the first opens connections
        pairs = in_turn(
            lambda: seconds(lambda: sent(count)),  # noqa: B023
            lambda: seconds(lambda: submitted(count)),  # noqa: B023
            rounds if count == 1 else max(rounds // 4, 3),
        )
        report.add(
            f"submit → claimed → begun, {name}: bare Celery ÷ ours", pairs.ratio, "×",
            f"{pairs.median_b * 1000:.1f} ms; a bare round trip of a no-op {pairs.median_a * 1000:.1f} ms",
            at_least=1.0 if count == 1 else None,
        )  # fmt: skip
    watched.close()


def _unmakeable() -> contract.Contract:
    return contract.parse({
        "os": {"tags": "nosuch"},
        "resources": {"cpu": "1", "ram": "64MiB", "storage": "64MiB"},
    })  # fmt: skip


def _until_begun(watched: Any, names: set[str]) -> None:
    seen = dict.fromkeys(names, 0)
    waiting, give_up = set(names), time.monotonic() + 60
    while waiting:
        if time.monotonic() > give_up:
            raise TimeoutError(f"{len(waiting)} environments did not begin")
        message = watched.get_message(timeout=1)
        env_id = json.loads(message["data"])["env"] if message else ""
        if env_id in seen:
            seen[env_id] += 1
            if seen[env_id] >= EVENTS_UNTIL_BEGUN:
                waiting.discard(env_id)
