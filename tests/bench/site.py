"""One host on the real engine, with a worker as it is in production; and the same containers by the engine alone."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import docker

from bench.pairs import seconds
from bench.processes import process, until
from common import contract, ids
from common.contract import Contract
from common.environment import Job
from common.ledger import Ledger
from common.settings import Settings
from common.states import State
from deploy import redis_server
from workers.engine import BUILDER, PREFIX
from workers.provision import Host

THREADS = 8  # of the worker, and of the engine's client beside it
FAILED = (State.FAILED, State.DELETED)


class Silent:
    """A report to nobody, whatever is told."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *said: None


class Alone:
    """Containers that need nothing any more but to be created and started."""

    def __init__(self, api: docker.APIClient, bodies: list[Mapping[str, Any]]):
        self.api = api
        self.bodies = bodies

    def start_all(self) -> float:
        """Create and start all of them with the worker's parallelism; seconds. They are removed after."""
        with ThreadPoolExecutor(THREADS) as pool:
            made: list[str] = []
            taken = seconds(lambda: made.extend(pool.map(self._start, self.bodies)))
            list(pool.map(lambda one: self.api.remove_container(one, force=True), made))
        return taken

    def _start(self, body: Mapping[str, Any]) -> str:
        container = str(self.api.create_container_from_config(body)["Id"])
        self.api.start(container)
        return container


class Site:
    """A ledger, a worker, and a second host on the same machine whose containers are started by hand."""

    def __init__(self, directory: Path, data: Path):
        self.directory, self.data = directory, data.resolve()
        port, password = redis_server.free_port(), "bench"
        self.url = redis_server.url(port, password)
        self._redis = redis_server.command(redis_server.find_server(), directory / "redis", port, password)
        self.prefix = f"bench-{os.getpid()}-{secrets.token_hex(3)}"
        self.env = {
            **os.environ,
            "DCLOUD_REDIS_URL": self.url, "DCLOUD_KEY_PREFIX": self.prefix, "DCLOUD_DATA_DIR": str(self.data),
            "DCLOUD_HOST_NAME": self.prefix, "DCLOUD_WORKER_THREADS": str(THREADS),
            "DCLOUD_CAPACITY_CPU": "1000", "DCLOUD_CAPACITY_RAM": "1TiB", "DCLOUD_CAPACITY_STORAGE": "1TiB",
        }  # fmt: skip
        self.phases: list[dict[str, float]] = []  # of each environment that ran: ms by step
        self._open = ExitStack()

    def __enter__(self) -> Site:
        self._open.enter_context(process(self._redis, self.env, self.directory / "redis.log"))
        redis_server.wait_until_it_answers(self.url)
        self.ledger = Ledger.connect(Settings.from_env(self.env))
        self._open.callback(self.ledger.redis.close)
        self._open.callback(self._clear, self.prefix)
        log = self.directory / "worker.log"
        self._open.enter_context(process([sys.executable, "-m", "workers"], self.env, log))
        until(self.ledger.hosts, "the worker joins", log)
        name = f"{self.prefix}-alone"
        self._open.callback(self._clear, name)
        self.host = Host(Settings.from_env({**self.env, "DCLOUD_HOST_NAME": name}))
        self._open.callback(self.host.close)
        self.api = docker.APIClient(timeout=120)
        self._open.callback(self.api.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def make(self, libraries: tuple[str, ...] = ()) -> None:
        """Let an environment run once, with everything that it needs; it may take minutes."""
        _, lost = self.started(1, libraries)
        if lost:
            raise RuntimeError((self.directory / "worker.log").read_text()[-3000:])

    def started(self, count: int, libraries: tuple[str, ...] = ()) -> tuple[float, int]:
        """Submit so many at once: seconds until all run, and how many failed. They are deleted after."""
        wanted, names = _wanted(libraries), [ids.new_id() for _ in range(count)]
        watched = self.ledger.redis.pubsub(ignore_subscribe_messages=True)
        watched.subscribe(self.ledger.keys.feed())
        watched.get_message(timeout=1)
        began = time.perf_counter()
        for env_id in names:
            self.ledger.submit(env_id, "bench", wanted)
        failed = self._until_running(watched, set(names))
        taken = time.perf_counter() - began
        watched.close()
        self.phases += [self._steps(env_id) for env_id in names]
        for env_id in names:
            self.ledger.delete(env_id)
        until(lambda: all(self.ledger.get(env_id).state is State.DELETED for env_id in names), "all are deleted")
        return taken, failed

    @contextmanager
    def prepared(self, count: int) -> Iterator[Alone]:
        """The same containers with their storage made and mounted, ready to be created and started."""
        bodies: list[Mapping[str, Any]] = []
        create = self.host.engine.create

        def noted(config: Mapping[str, Any], name: str = "") -> str:
            bodies.append(config)
            return create(config, name)

        self.host.engine.create = noted  # type: ignore[method-assign]
        jobs = [_job(_wanted()) for _ in range(count)]
        try:
            for job in jobs:
                self.host.engine.remove(self.host.start(job, Silent()))
            yield Alone(self.api, bodies)
        finally:
            self.host.engine.create = create  # type: ignore[method-assign]
            for job in jobs:
                self.host.remove(job.id)

    def forget_libraries(self) -> None:
        """Take layers and locks away; wheels stay."""
        for path in (self.data / "layers", self.data / "resolutions", self.data / "store" / "layers"):
            for one in path.iterdir():
                shutil.rmtree(one) if one.is_dir() else one.unlink()

    def forget_builders(self) -> None:
        """Take away the builders that wait for work."""
        for row in self.api.containers(filters={"label": [BUILDER, f"{PREFIX}={self.prefix}"]}):
            self.api.remove_container(row["Id"], force=True)

    def base_tag(self) -> str:
        """The base image that the environments use."""
        return self.host.images.get(_wanted(), lambda fraction, said: None, lambda line: None).tag

    def _until_running(self, watched: Any, waiting: set[str]) -> int:
        failed, give_up = 0, time.monotonic() + 600
        while waiting:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{len(waiting)} environments do not run")
            message = watched.get_message(timeout=1)
            env_id = json.loads(message["data"])["env"] if message else ""
            if env_id in waiting:
                state = self.ledger.redis.hget(self.ledger.keys.environment(env_id), "state")
                failed += state in FAILED
                if state == State.RUNNING or state in FAILED:
                    waiting.discard(env_id)
        return failed

    def _steps(self, env_id: str) -> dict[str, float]:
        """ms from each step of its history to the next."""
        events = self.ledger.events(env_id)
        spent: dict[str, float] = {}
        for event, following in pairwise(events):
            step = event.phase or event.state.value
            spent[step] = spent.get(step, 0) + (following.at - event.at) * 1000
            if following.state is State.RUNNING:
                break
        return spent

    def _clear(self, name: str) -> None:
        """Remove all that a host of ours still has on this machine."""
        host = Host(Settings.from_env({**self.env, "DCLOUD_HOST_NAME": name}))
        for env_id in {found.env_id for found in host.containers()} | set(host.volumes()):
            host.remove(env_id)
        host.teardown()
        host.close()


def _wanted(libraries: tuple[str, ...] = ()) -> Contract:
    asked = {"ram": "64MiB", "cpu": "0.5", "storage": "64MiB"}
    return contract.parse({"language": {"libraries": list(libraries)}, "resources": asked})


def _job(wanted: Contract) -> Job:
    return Job(id=ids.new_id(), name="bench", owner="bench", token=1, attempt=1, contract=wanted, gpus=())
