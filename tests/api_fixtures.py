"""What the tests of the API share: the application, a server that really serves, and a host to work for it.

The tiers' own conftest.py name those that they use.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from simulated_host import SimulatedHost

import api
from api.services import Services
from common.settings import Settings
from deploy.redis_server import free_port

ROOT = Path(__file__).parents[1]


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings.from_env(
        {"DCLOUD_REDIS_URL": redis_url, "DCLOUD_VAR_DIR": str(tmp_path / "var"), "DCLOUD_RATE_LIMIT": "0"}
    )


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    application = api.create_app(settings)
    yield application
    parts: Services = application.extensions["dcloud"]
    parts.feed.close()
    parts.ledger.redis.connection_pool.disconnect()
    parts.bytes_redis.connection_pool.disconnect()


@pytest.fixture
def parts(app: Flask) -> Services:
    """The services of the application, to look at what it stored."""
    found: Services = app.extensions["dcloud"]
    return found


@pytest.fixture
def token_of(parts: Services) -> Callable[..., str]:
    """A token of a new or known user: `token_of("ada")`, `token_of("root", "admin", scopes=["read"])`."""

    def make(user: str, role: str = "user", **kwargs: Any) -> str:
        if user not in [known.name for known in parts.accounts.users()]:
            parts.accounts.create_user(user, role)
        return parts.accounts.create_token(user, **kwargs)

    return make


@pytest.fixture
def client_of(app: Flask, token_of: Callable[..., str]) -> Callable[..., FlaskClient]:
    """A test client that sends a token of this user."""

    def make(user: str, role: str = "user", **kwargs: Any) -> FlaskClient:
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token_of(user, role, **kwargs)}"
        return client

    return make


@pytest.fixture
def ada(client_of: Callable[..., FlaskClient]) -> FlaskClient:
    """A user."""
    return client_of("ada")


@pytest.fixture
def host(redis_url: str) -> Iterator[SimulatedHost]:
    """A host that makes what is submitted."""
    simulated = SimulatedHost(redis_url)
    simulated.start()
    yield simulated
    simulated.stop()


@dataclass(frozen=True)
class Server:
    """The API as it is served: gunicorn with gevent, set up as in production."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def serving(redis_url: str, port: int, log: Path, *options: str, **settings: str) -> Iterator[Server]:
    """A served API on this port until the end of the block; `options` are gunicorn's, `settings` variables."""
    env = {**os.environ, "DCLOUD_REDIS_URL": redis_url, "DCLOUD_API_BIND": f"127.0.0.1:{port}", **settings}
    env.setdefault("DCLOUD_RATE_LIMIT", "0")  # tests ask as fast as they can
    env.setdefault("DCLOUD_VAR_DIR", str(log.parent / "var"))
    env.setdefault("DCLOUD_SWEEP_SECONDS", "86400")  # it outlives tests that count the keys of its Redis
    with log.open("ab") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("gunicorn"), "-c", "deploy/gunicorn_conf.py", *options, "api:create_app()"],
            cwd=ROOT, env=env, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_it_answers(url, process, log)
        yield Server(url, process, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def served(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(redis_server.url, free_port(), tmp_path_factory.mktemp("api") / "api.log") as found:
        yield found


@pytest.fixture
def server(served: Server, redis_url: str) -> Server:
    """The served API on an empty Redis."""
    return served


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    with httpx.Client(trust_env=False) as http:
        while time.monotonic() < until and process.poll() is None:
            try:
                http.get(f"{url}/healthz")
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                return
    raise RuntimeError(f"the API did not start:\n{log.read_text()}")
