"""Flower as the Procfile starts it, beside a served API and a worker without an engine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from api_fixtures import ROOT, Server, serving

from common import flower
from deploy.redis_server import free_port
from deploy.services import procfile

WORKER = "lab-flower"


@dataclass(frozen=True)
class Stack:
    """Where the API and Flower itself are."""

    server: Server
    bind: str
    var: Path


@contextmanager
def flowering(redis_url: str, directory: Path) -> Iterator[Stack]:
    """All three, until the end of the block; returns once the worker told Flower that it is there."""
    bind, var = f"127.0.0.1:{free_port()}", directory / "var"
    env = {**os.environ, "DCLOUD_FLOWER_BIND": bind, "DCLOUD_REDIS_URL": redis_url, "DCLOUD_VAR_DIR": str(var)}
    command = [Path(sys.executable).with_name("celery"), *procfile()["flower"][1:]]
    log = directory / "flower.log"
    processes = []
    try:
        with log.open("ab") as output:
            processes.append(subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output))
            with httpx.Client(trust_env=False, auth=tuple(flower.credentials(var).split(":"))) as asked:
                _until(asked, f"http://{bind}/flower/healthcheck", "OK", log)
                env["DCLOUD_HOST_NAME"] = WORKER
                worker = [sys.executable, "tests/noop_host.py"]
                processes.append(subprocess.Popen(worker, cwd=ROOT, env=env, stdout=output, stderr=output))
                _until(asked, f"http://{bind}/flower/workers?json=1", WORKER, log)
        with serving(redis_url, free_port(), directory / "api.log", DCLOUD_FLOWER_BIND=bind) as server:
            yield Stack(server, bind, var)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=60)


def _until(asked: httpx.Client, url: str, text: str, log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if text in asked.get(url).text:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{url} does not say {text}:\n{log.read_text()}")
