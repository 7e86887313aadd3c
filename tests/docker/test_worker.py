"""Whole workers, as processes, between a real Redis and the real engine."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from common import contract, ids
from common.channel import ClientEnd
from common.environment import Environment
from common.errors import ChannelClosed
from common.ledger import Ledger, client_of
from common.settings import Settings
from common.states import Reason, State
from workers.provision import Host
from workers.sessions import MAX_OF_ONE

SMALL = {"cpu": "0.1", "ram": "64MiB", "storage": "32MiB"}


class Site:
    """An installation of its own: a ledger and the workers that a test starts."""

    def __init__(self, redis_url: str, data: Path, logs: Path):
        self.prefix = f"test-{os.getpid()}-{secrets.token_hex(3)}"
        self.env = {
            "DCLOUD_REDIS_URL": redis_url,
            "DCLOUD_KEY_PREFIX": self.prefix,
            "DCLOUD_DATA_DIR": str(data),
            "DCLOUD_SWEEP_SECONDS": "1",
            "DCLOUD_HEARTBEAT_SECONDS": "1",
            "DCLOUD_LEASE_SECONDS": "8",
            "DCLOUD_ORPHAN_GRACE_SECONDS": "0",
        }
        self.ledger = Ledger.connect(Settings.from_env(self.env))
        self.data, self.logs = data, logs
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.names: set[str] = set()

    def host(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def work(self, name: str = "a", **capacity: str) -> subprocess.Popen[bytes]:
        """Start the worker of a host."""
        capacity = {"cpu": "4", "ram": "4GiB", "storage": "8GiB", **capacity}
        env = {**os.environ, **self.env, "DCLOUD_HOST_NAME": self.host(name)}
        env |= {f"DCLOUD_CAPACITY_{key.upper()}": value for key, value in capacity.items()}
        log = (self.logs / f"{name}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "workers"], env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        log.close()
        self.workers[name] = process
        self.names.add(name)
        return process

    def submit(self, libraries: tuple[str, ...] = (), **resources: str) -> str:
        wanted = contract.parse({"resources": {**SMALL, **resources}, "language": {"libraries": list(libraries)}})
        return self.ledger.submit(ids.new_id(), "tester", wanted).id

    def wait(self, env_id: str, *states: State, seconds: float = 60) -> Environment:
        """The environment once it is in one of `states`."""
        self.until(lambda: self.ledger.get(env_id).state in states, seconds, lambda: self.ledger.get(env_id))
        return self.ledger.get(env_id)

    def until(self, true: Callable[[], Any], seconds: float = 60, what: Callable[[], Any] = str) -> None:
        """Wait, but not for a worker that has ended by itself."""
        deadline = time.monotonic() + seconds
        while not true():
            ended = [name for name, process in self.workers.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                said = "\n".join(f"{p.name}:\n{p.read_text()[-3000:]}" for p in self.logs.iterdir())
                why = f"the worker of {', '.join(ended)} has ended" if ended else f"not within {seconds} s"
                pytest.fail(f"{why}: {what()}\n{said}")
            time.sleep(0.05)

    def kill(self, name: str = "a", sign: signal.Signals = signal.SIGKILL) -> int:
        """End the worker of a host, and wait until it has ended; its exit status."""
        process = self.workers.pop(name)
        process.send_signal(sign)
        return process.wait(timeout=30)

    def containers(self, engine: DockerClient) -> list[Any]:
        return list(
            engine.containers.list(
                all=True, sparse=True, filters={"label": ["dcloud.env", f"dcloud.prefix={self.prefix}"]}
            )
        )

    def run(self, env_id: str, *command: str) -> tuple[int, str]:
        """Exit code and output of a command in the environment, by the way that clients go."""
        host = self.ledger.get(env_id).host
        client = client_of(self.env["DCLOUD_REDIS_URL"], decode=False, timeout_seconds=10)
        request = {"op": "exec", "env": env_id, "command": list(command), "tty": False}
        end = ClientEnd.open(client, self.ledger.keys, host, request)
        output, after = b"", "0"
        try:
            while True:
                for said in end.read(after):
                    after = said.id
                    if said.kind == "error":
                        pytest.fail(said.data.decode())
                    if said.kind == "exit":
                        return said.code, output.decode()
                    output += said.data
        finally:
            end.close()
            client.close()

    def end(self) -> None:
        """Stop the workers, then remove what their hosts still have."""
        for process in self.workers.values():
            if process.poll() is None:
                process.terminate()
        for process in self.workers.values():
            process.wait(timeout=60)
        for name in self.names:
            host = Host(Settings.from_env({**self.env, "DCLOUD_HOST_NAME": self.host(name)}))
            for env_id in {found.env_id for found in host.containers()} | set(host.volumes()):
                host.remove(env_id)
            host.teardown()
            host.close()
        self.ledger.redis.close()

    def shut_down(self, name: str) -> None:
        env = {**os.environ, **self.env, "DCLOUD_HOST_NAME": self.host(name)}
        subprocess.run(
            [sys.executable, "-m", "workers.shutdown"], env=env, check=True, timeout=120, capture_output=True
        )


@pytest.fixture
def site(redis_url: str, settings: Settings, tmp_path: Path) -> Iterator[Site]:
    site = Site(redis_url, settings.data_dir, tmp_path)
    yield site
    site.end()


def test_twenty_on_two_hosts_that_hold_eight_run_in_turn(site: Site, engine: DockerClient) -> None:
    for name in ("a", "b"):
        site.work(name, cpu="0.4", ram="1GiB")
    waiting = {site.submit() for _ in range(20)}
    done: set[str] = set()

    def running() -> set[str]:
        page, _ = site.ledger.environments(states=[State.RUNNING], limit=100)
        return {e.id for e in page} - done

    while done != waiting:
        site.until(running)
        for env_id in running():
            site.ledger.delete(env_id)
            done.add(env_id)
        assert len(site.containers(engine)) <= 8
    for env_id in waiting:
        site.wait(env_id, State.DELETED)
        states = [event.state for event in site.ledger.events(env_id)]
        assert states.count(State.RUNNING) == 1
    assert site.containers(engine) == []
    assert all(host.free_cpu_milli == 400 for host in site.ledger.hosts())
    assert len({e.host for e in site.ledger.environments(limit=100)[0]}) == 2


def test_a_worker_killed_while_it_builds_loses_nothing(site: Site, engine: DockerClient) -> None:
    site.work()
    env_id = site.submit(("idna==3.10",))
    site.wait(env_id, State.BUILDING, State.STARTING)
    site.kill()
    site.work()
    environment = site.wait(env_id, State.RUNNING)
    assert environment.attempt in (1, 2), "1 where the kill came after the last step"
    assert len(site.containers(engine)) == 1
    assert site.run(env_id, "python", "-c", "import idna; print(idna.__version__)") == (0, "3.10\n")


def test_a_worker_killed_while_environments_run_finds_them_again(site: Site, engine: DockerClient) -> None:
    site.work()
    env_id = site.submit()
    first = site.wait(env_id, State.RUNNING)
    (container,) = site.containers(engine)
    site.kill()
    site.work()
    site.until(lambda: site.ledger.hosts()[0].epoch > 0 and site.run(env_id, "true")[0] == 0)
    assert site.ledger.get(env_id).token == first.token
    assert [c.id for c in site.containers(engine)] == [container.id]


def test_libraries_that_cannot_be_installed_end_in_a_reason_and_free_everything(
    site: Site, engine: DockerClient
) -> None:
    site.work()
    env_id = site.submit(("idna==2.10", "requests==2.32.3", "urllib3==99"))
    failed = site.wait(env_id, State.FAILED)
    assert failed.reason == Reason.LIBRARIES_UNRESOLVABLE
    assert "urllib3" in failed.message
    lines = [fields["text"] for _, fields in site.ledger.redis.xrange(site.ledger.keys.build_log(env_id))]
    assert "urllib3" in lines[-1]
    assert len(lines) == len(set(lines))
    host = site.ledger.hosts()[0]
    assert (host.free_cpu_milli, host.free_storage_mib, host.environments) == (4000, 8192, ())
    assert site.containers(engine) == []
    assert not (site.data / "volumes" / env_id).exists()


def test_stop_and_start_keep_the_files(site: Site, engine: DockerClient) -> None:
    site.work()
    env_id = site.submit()
    site.wait(env_id, State.RUNNING)
    assert site.run(env_id, "sh", "-c", "echo kept > /workspace/file")[0] == 0
    site.ledger.stop(env_id)
    site.wait(env_id, State.STOPPED)
    assert site.containers(engine) == []
    assert site.ledger.hosts()[0].free_storage_mib == 8192 - 32
    site.ledger.grow(env_id, 96)
    assert site.ledger.hosts()[0].free_storage_mib == 8192 - 96
    site.ledger.start(env_id)
    site.wait(env_id, State.RUNNING)
    assert site.run(env_id, "sh", "-c", "head -c 64M /dev/zero > /workspace/more")[0] == 0
    assert site.run(env_id, "cat", "/workspace/file") == (0, "kept\n")
    site.ledger.delete(env_id)
    site.wait(env_id, State.DELETED)
    assert not (site.data / "volumes" / env_id).exists()


def test_a_container_that_ends_is_told_and_its_files_are_kept(site: Site, engine: DockerClient) -> None:
    site.work()
    ended, removed = site.submit(), site.submit()
    for env_id in (ended, removed):
        site.wait(env_id, State.RUNNING)
    for container in site.containers(engine):
        if container.attrs["Labels"]["dcloud.env"] == ended:
            container.kill("SIGKILL")
        else:
            container.remove(force=True)
    assert site.wait(ended, State.STOPPED).reason == Reason.CONTAINER_EXITED
    assert site.wait(removed, State.STOPPED).reason == Reason.CONTAINER_LOST
    site.ledger.start(removed)
    site.wait(removed, State.RUNNING)


def test_a_container_without_an_allocation_is_removed_and_a_stranger_is_not(site: Site, engine: DockerClient) -> None:
    site.work()
    env_id = site.submit()
    site.wait(env_id, State.RUNNING)
    (ours,) = site.containers(engine)
    ours.reload()
    image = ours.attrs["Config"]["Image"]
    labels = {**ours.labels, "dcloud.env": ids.new_id()}
    orphan = engine.containers.run(image, ["sleep", "60"], labels=labels, detach=True)
    stranger = engine.containers.run(image, ["sleep", "60"], labels={"dcloud.env": "x"}, detach=True)
    try:
        site.until(lambda: [c.id for c in site.containers(engine)] == [ours.id])
        stranger.reload()
        assert stranger.status == "running"
    finally:
        stranger.remove(force=True)
        if orphan.id in [c.id for c in engine.containers.list(all=True)]:
            orphan.remove(force=True)


def test_logs_that_nobody_follows_any_more_hold_no_session(site: Site) -> None:
    """A container that writes nothing gives no occasion to notice that its reader has gone."""
    site.work()
    env_id = site.submit()
    site.wait(env_id, State.RUNNING)
    client = client_of(site.env["DCLOUD_REDIS_URL"], decode=False, timeout_seconds=10)
    request = {"op": "logs", "env": env_id, "follow": True}
    for _ in range(MAX_OF_ONE):
        ClientEnd.open(client, site.ledger.keys, site.host("a"), request).close()

    def free() -> bool:
        try:
            ClientEnd.open(client, site.ledger.keys, site.host("a"), request).close()
        except ChannelClosed:
            return False
        return True

    site.until(free, seconds=30)
    client.close()


def test_a_second_worker_of_one_name_is_refused(site: Site) -> None:
    first = site.work()
    site.until(site.ledger.hosts)
    second = site.work()
    assert second.wait(timeout=30) == 1
    assert "DCLOUD_HOST_NAME" in (site.logs / "a.log").read_text()
    assert first.poll() is None
    site.workers["a"] = first


def test_deleting_what_is_being_built_leaves_nothing(site: Site, engine: DockerClient) -> None:
    site.work()
    env_id = site.submit(("idna==3.9",))
    site.wait(env_id, State.BUILDING, State.STARTING)
    site.ledger.delete(env_id)
    site.wait(env_id, State.DELETED)
    assert site.containers(engine) == []
    assert not (site.data / "volumes" / env_id).exists()
    assert site.ledger.hosts()[0].free_cpu_milli == 4000


def test_a_host_that_is_shut_down_keeps_the_storage_and_says_so(site: Site, engine: DockerClient) -> None:
    site.work()
    env_id = site.submit()
    site.wait(env_id, State.RUNNING)
    assert site.kill(sign=signal.SIGTERM) == 0
    site.shut_down("a")
    assert site.ledger.get(env_id).state is State.STOPPED
    assert site.ledger.get(env_id).reason == Reason.HOST_SHUTDOWN
    assert site.containers(engine) == []
    assert site.prefix not in subprocess.run(["iptables-save"], check=True, capture_output=True, text=True).stdout
    site.work()
    site.ledger.start(env_id)
    site.wait(env_id, State.RUNNING)


def test_the_environments_of_a_lost_host_are_made_on_another(site: Site) -> None:
    site.work("a")
    site.until(site.ledger.hosts)
    os.kill(site.workers["a"].pid, signal.SIGSTOP)
    try:
        env_id = site.submit()
        epoch = str(site.ledger.hosts()[0].epoch)
        assert site.ledger.claim(site.host("a"), epoch), "as the stopped process would have"
        site.work("b")
        environment = site.wait(env_id, State.RUNNING)
        assert (environment.host, environment.attempt) == (site.host("b"), 1), "nobody had begun to make it"
    finally:
        os.kill(site.workers["a"].pid, signal.SIGCONT)
