"""`make run` and `make stop`, as a person types them, with everything of their own: settings, Redis, data, network."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deploy.processes import Processes
from deploy.redis_server import free_port

ROOT = Path(__file__).parents[2]
LABEL = "dcloud.prefix"


@dataclass(frozen=True)
class Own:
    """An installation of this checkout beside all others on this machine."""

    var: Path
    prefix: str
    api: str
    flower: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DCLOUD_VAR_DIR": str(self.var),
            "DCLOUD_KEY_PREFIX": self.prefix,
            "DCLOUD_HOST_NAME": self.prefix,
            "DCLOUD_API_BIND": self.api,
            "DCLOUD_FLOWER_BIND": self.flower,
        }

    def make(self, target: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return self._run(["make", target], settings)

    def dcloud(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run([str(ROOT / ".venv" / "bin" / "dcloud"), *arguments], {})

    def environments(self) -> list[dict[str, str]]:
        return list(json.loads(self.dcloud("ls", "--json").stdout))

    def _run(self, command: list[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**self.environment, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@pytest.fixture(scope="module")
def own(engine: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """An installation that `make run` has brought up once; all of it is gone afterwards."""
    var = tmp_path_factory.mktemp("installation")
    installation = Own(var, f"accept-{os.getpid()}", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    try:
        first = installation.make("run")
        (var / "first.txt").write_text(first.stdout + first.stderr)
        assert first.returncode == 0, first.stdout + first.stderr
        yield installation
    finally:
        for environment in installation.environments() if Processes(var).find("api") else []:
            installation.dcloud("rm", environment["id"], "--yes")
        installation.make("stop")
        shutil.rmtree(var, ignore_errors=True)


@pytest.fixture(scope="module")
def first(own: Own) -> str:
    """What the first `make run` printed."""
    return (own.var / "first.txt").read_text()


pytestmark = pytest.mark.timeout(900)


def test_the_example_proves_itself_from_inside(first: str) -> None:
    facts = dict(re.findall(r"^  (python|libraries|memory limit|cpu limit|storage)\s+(.*)$", first, re.MULTILINE))
    assert facts["python"].startswith("3.11.")
    assert facts["python"].endswith("as user 1000")
    assert re.findall(r"[\w-]+(?= \d)", facts["libraries"]) == ["numpy", "pandas", "scikit-learn", "matplotlib"]
    assert facts["memory limit"].startswith("2.00 GB")
    assert facts["cpu limit"].startswith("1 ")
    assert 1.8 < float(facts["storage"].split()[0]) <= 2.0


def test_the_progress_moves_with_the_work(first: str) -> None:
    percents = [int(number) for number in re.findall(r"^ *(\d+) %  ", first, re.MULTILINE)]
    assert percents == sorted(percents)
    assert percents[0] == 0
    assert percents[-1] == 100
    assert len(set(percents)) >= 5


def test_what_it_prints_answers(own: Own, first: str) -> None:
    with httpx.Client(trust_env=False) as client:
        for path in ("/healthz", "/readyz"):
            assert client.get(f"http://{own.api}{path}").status_code == 200
        assert "DCloud" in client.get(f"http://{own.api}/", follow_redirects=True).text
        assert client.get(f"http://{own.flower}/flower/").status_code == 401
        admin = {"Authorization": f"Bearer {(own.var / 'admin.token').read_text().strip()}"}
        assert "Workers · Flower" in client.get(f"http://{own.api}/flower/", headers=admin).text
    assert f"{own.api}/flower" in first


def test_the_doctor_is_content(own: Own) -> None:
    checks = json.loads(own.dcloud("doctor", "--json").stdout)
    assert [check["name"] for check in checks if check["ok"] is False] == []
    assert {"Redis", "Docker engine", "worker", "loop devices"} <= {check["name"] for check in checks if check["ok"]}


def test_secrets_are_for_their_owner_alone(own: Own) -> None:
    for name in ("admin.token", "dcloud.env", "flower.secret", "redis/redis.conf"):
        assert stat.S_IMODE((own.var / name).stat().st_mode) == 0o600, name
    token = (own.var / "admin.token").read_text().strip()
    logs = "".join(path.read_text(errors="replace") for path in (own.var / "log").iterdir())
    password = re.search(r":([^:@]+)@", (own.var / "dcloud.env").read_text())
    assert password
    assert token not in logs
    assert password[1] not in logs


def test_a_second_run_reuses_everything(own: Own) -> None:
    (before,) = own.environments()
    processes = {name: Processes(own.var).find(name) for name in ("redis", "api", "worker", "flower", "webhooks")}
    began = time.monotonic()
    again = own.make("run")
    assert again.returncode == 0, again.stdout + again.stderr
    assert time.monotonic() - began < 20
    assert own.environments() == [before]
    assert {name: Processes(own.var).find(name) for name in processes} == processes
    assert None not in processes.values()


def test_a_changed_setting_starts_the_services_again_and_leaves_environments_running(own: Own) -> None:
    (before,) = own.environments()
    container = own.dcloud("exec", before["id"], "--", "cat", "/proc/1/stat").stdout
    worker = Processes(own.var).find("worker")
    again = own.make("run", DCLOUD_WORKER_THREADS="4")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "started again with what changed" in again.stdout
    assert Processes(own.var).find("worker") != worker
    (after,) = own.environments()
    assert (after["id"], after["state"], after["started_at"]) == (before["id"], "running", before["started_at"])
    assert own.dcloud("exec", before["id"], "--", "cat", "/proc/1/stat").stdout.split()[21] == container.split()[21]


def test_stop_leaves_nothing_but_files_and_run_finds_the_work_again(own: Own, engine: object) -> None:
    (environment,) = own.environments()
    written = own.dcloud("exec", environment["id"], "--", "sh", "-c", "echo mine > result.txt")
    assert written.returncode == 0, written.stderr
    stopped = own.make("stop")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr

    assert _engine_has(engine, own.prefix) == []
    assert [line for line in Path("/proc/mounts").read_text().splitlines() if str(own.var) in line] == []
    backing = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    assert [file for file in backing if str(own.var) in file] == []
    assert list((own.var / "run").glob("*.json")) == []
    assert list((own.var / "data" / "volumes").iterdir()) != []

    again = own.make("run")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "started again, its files are there" in again.stdout
    assert own.dcloud("exec", environment["id"], "--", "cat", "result.txt").stdout.strip() == "mine"


def test_a_worker_that_was_killed_is_replaced(own: Own) -> None:
    (before,) = own.environments()
    worker = Processes(own.var).find("worker")
    assert worker
    os.kill(worker.pid, 9)
    again = own.make("run")
    assert again.returncode == 0, again.stdout + again.stderr
    (after,) = own.environments()
    assert (after["state"], after["started_at"]) == ("running", before["started_at"])


def test_another_machine_joins(own: Own, tmp_path: Path) -> None:
    here = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()[0]
    (before,) = own.environments()
    opened = own.make("run", DCLOUD_REDIS_BIND=here)
    assert opened.returncode == 0, opened.stdout + opened.stderr
    assert own.environments() == [before]
    address = re.search(r"DCLOUD_REDIS_URL=(.*)", (own.var / "dcloud.env").read_text())
    assert address
    there = address[1].replace("127.0.0.1", here)
    other = Own(tmp_path, own.prefix, own.api, own.flower)
    name = f"{own.prefix}-2"
    try:
        for said in ("worker started", "worker runs already"):
            joined = other.make("join", DCLOUD_REDIS_URL=there, DCLOUD_HOST_NAME=name)
            assert joined.returncode == 0, joined.stdout + joined.stderr
            assert said in joined.stdout
        assert {host["name"]: host["state"] for host in json.loads(own.dcloud("hosts", "--json").stdout)} == {
            own.prefix: "ready",
            name: "ready",
        }
        assert [process for process in ("redis", "api", "flower") if Processes(tmp_path).find(process)] == []
    finally:
        stopped = other.make("stop")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert Processes(tmp_path).find("worker") is None


def test_joining_says_what_it_lacks(own: Own, tmp_path: Path) -> None:
    lost = Own(tmp_path, own.prefix, own.api, own.flower)
    for settings in ({}, {"DCLOUD_REDIS_URL": "redis://127.0.0.1:1/0"}):
        refused = lost.make("join", **settings)
        assert refused.returncode != 0
        assert "Set DCLOUD_REDIS_URL to the value that it has in var/dcloud.env" in refused.stderr
    assert "is a host already" in own.make("join").stderr


def test_a_port_that_is_taken_is_one_sentence(own: Own, tmp_path: Path) -> None:
    other = Own(tmp_path, f"{own.prefix}-other", own.api, own.flower)
    try:
        refused = other.make("run")
        assert refused.returncode != 0
        assert f"{own.api} cannot be listened on" in refused.stderr
        assert "DCLOUD_API_BIND=" in refused.stderr
    finally:
        other.make("stop")


def test_stop_where_nothing_runs_says_so(tmp_path: Path) -> None:
    stopped = Own(tmp_path, "nothing", "127.0.0.1:1", "127.0.0.1:2").make("stop")
    assert stopped.returncode == 0
    assert stopped.stdout.strip() == "Nothing was started here."


def _engine_has(engine: object, prefix: str) -> list[str]:
    """Containers, volumes and networks with the label of an installation."""
    only = {"filters": {"label": f"{LABEL}={prefix}"}}
    api = engine.api  # type: ignore[attr-defined]
    volumes = api.volumes(**only)["Volumes"] or []
    return [str(item) for item in (*api.containers(all=True, **only), *volumes, *api.networks(**only))]
