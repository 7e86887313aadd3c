"""GPUs through the real NVML binding, on a machine that has none: the binding loads a library that we build."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common import contract
from common.ledger import Ledger
from common.settings import Settings

ROOT = Path(__file__).parents[2]
PRINT = """
import dataclasses, json
from workers import gpus
found = gpus.uses(["GPU-1", "MIG-2-0", "GPU-5", "x"])
print(json.dumps([dataclasses.asdict(gpus.driver()), {uuid: dataclasses.asdict(use) for uuid, use in found.items()}]))
"""

# What a worker does about GPUs, without an engine and without Celery.
WATCH = """
import sys
from dataclasses import replace
from types import SimpleNamespace
from common.ledger import Ledger
from common.settings import settings
from workers import gpuwatcher, inventory
from workers.cards import Cards
from workers.member import Member
from workers.volumes import Volumes

cards, values = Cards(), settings()
host = SimpleNamespace(cards=cards, inventory=lambda: inventory.gather(values, "28.0", cards, Volumes(values)))
member = Member(values, Ledger.connect(values), host)
class Faults(gpuwatcher.Faults):
    def __init__(self):
        super().__init__()
        print("follows", flush=True)

gpuwatcher.Faults = Faults
member.join()
sampler = SimpleNamespace(sick_gpus=frozenset(), look_soon=lambda: print(*sorted(sampler.sick_gpus), flush=True))
watcher = gpuwatcher.GpuWatcher(member, sampler)
watcher.start()
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the stand-in."""
    directory = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    command = ["cc", "-Wall", "-shared", "-fPIC", "-o", str(directory / "libnvidia-ml.so.1"), str(source)]
    subprocess.run(command, check=True)
    return directory


def seen(library: Path) -> Any:
    """The driver, and what is used, as another process sees them: a library is looked for when a process starts."""
    env = {**os.environ, "LD_LIBRARY_PATH": str(library)}
    return json.loads(subprocess.run([sys.executable, "-c", PRINT], env=env, check=True, capture_output=True).stdout)


@pytest.fixture(scope="module")
def present(library: Path) -> Any:
    """What there is, and what is used of it."""
    return seen(library)


def test_cards_and_slices_by_uuid(present: Any) -> None:
    found, _ = present
    assert (found["version"], found["cuda"]) == ("580.65.06", "13.1")
    gpus = {gpu["uuid"]: gpu for gpu in found["gpus"]}
    # the cut card is given out by its slices, and the lost one not at all
    assert sorted(gpus) == ["GPU-0", "GPU-1", "GPU-3", "GPU-4", "GPU-6", "GPU-7", "MIG-2-0", "MIG-2-1"]
    assert gpus["GPU-0"]["model"] == "NVIDIA H200"
    assert gpus["GPU-0"]["memory_mib"] == 143771
    assert gpus["MIG-2-1"]["parent"] == "GPU-2"
    assert gpus["MIG-2-1"]["memory_mib"] == 71424
    assert [uuid for uuid, gpu in gpus.items() if not gpu["healthy"]] == ["GPU-7"]


def test_islands_are_what_nvlink_joins(present: Any) -> None:
    islands = {gpu["uuid"]: gpu["island"] for gpu in present[0]["gpus"]}
    assert islands["GPU-0"] == islands["GPU-1"] == islands["GPU-3"] > 0
    assert len({islands[uuid] for uuid in ("GPU-0", "GPU-4", "GPU-6", "GPU-7")}) == 4
    assert (islands["MIG-2-0"], islands["MIG-2-1"]) == (0, 0)


def test_what_is_used_of_those_that_answer(present: Any) -> None:
    _, uses = present
    assert uses == {
        "GPU-1": {"uuid": "GPU-1", "busy_percent": 91, "memory_bytes": 2**30},
        "MIG-2-0": {"uuid": "MIG-2-0", "busy_percent": None, "memory_bytes": 2**30},
    }


def test_no_driver_is_no_gpu(tmp_path: Path) -> None:
    broken = tmp_path / "libnvidia-ml.so.1"
    broken.write_text("not a library")
    assert seen(tmp_path) == [{"version": "", "cuda": "", "gpus": []}, {}]


class Worker:
    """The part of a worker that watches GPUs, in a process of its own."""

    def __init__(self, library: Path, settings: Settings, **more: str):
        env = {
            **more,
            "DCLOUD_REDIS_URL": settings.redis_url,
            "DCLOUD_HOST_NAME": settings.host,
            "DCLOUD_DATA_DIR": str(settings.data_dir),
            "LD_LIBRARY_PATH": str(library),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", WATCH], cwd=ROOT, env={**os.environ, **env}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.sick()  # those at the start
        assert self.sick() == ["follows"]

    def sick(self) -> list[str]:
        """What environments are told next."""
        return self.lines.get(timeout=30).split()

    def end(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        self._reader.join(10)
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(line)


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    return Ledger.connect(settings)


@pytest.fixture
def at(settings: Settings, tmp_path: Path) -> Settings:
    return replace(settings, data_dir=tmp_path, host_name="gpus")


@pytest.fixture
def worker(library: Path, at: Settings) -> Iterator[Worker]:
    worker = Worker(library, at)
    yield worker
    worker.end()


def sick(ledger: Ledger) -> set[str]:
    """What the ledger does not give out."""
    return {gpu.uuid for gpu in ledger.hosts()[0].inventory.gpus if not gpu.healthy}


def test_a_gpu_that_falls_off_the_bus_leaves_and_its_environment_is_told(ledger: Ledger, worker: Worker) -> None:
    before = ledger.hosts()[0]
    assert sick(ledger) == {"GPU-7"}
    worker.process.send_signal(signal.SIGUSR1)
    assert worker.sick() == ["GPU-4", "GPU-7"]
    after = ledger.hosts()[0]
    assert sick(ledger) == {"GPU-4", "GPU-7"}
    assert set(before.free_gpus) - set(after.free_gpus) == {"GPU-4"}
    assert "GPU GPU-4 is not given out: Xid 79." in after.inventory.notes
    assert (after.state, after.epoch) == ("ready", before.epoch)


def test_a_gpu_that_was_put_back_is_given_out_and_heard_of_again(ledger: Ledger, worker: Worker) -> None:
    worker.process.send_signal(signal.SIGUSR1)
    assert worker.sick() == ["GPU-4", "GPU-7"]
    worker.process.send_signal(signal.SIGUSR1)
    assert worker.sick() == ["GPU-7"]
    assert "GPU-4" in ledger.hosts()[0].free_gpus
    assert worker.sick() == ["follows"], "the driver is asked anew"
    worker.process.send_signal(signal.SIGUSR1)
    assert worker.sick() == ["GPU-4", "GPU-7"]
    assert "GPU GPU-4 is not given out: Xid 79." in ledger.hosts()[0].inventory.notes


def test_harmless_xids_are_no_fault_and_memory_errors_are(ledger: Ledger, worker: Worker) -> None:
    worker.process.send_signal(signal.SIGUSR2)
    assert worker.sick() == ["GPU-3", "GPU-7"], "not the second card, which a program made stumble"
    (note,) = [note for note in ledger.hosts()[0].inventory.notes if "GPU-3" in note]
    assert "memory error" in note
    worker.process.send_signal(signal.SIGUSR2)
    assert worker.sick() == ["GPU-7"], "it was reset"


def test_a_lost_gpu_that_an_environment_has_is_remembered_by_the_next_process(
    ledger: Ledger, library: Path, at: Settings
) -> None:
    first = Worker(library, at)
    wanted = contract.parse({"resources": {"gpu": "6", "storage": "16MiB", "ram": "16MiB", "cpu": "0.1"}})
    ledger.submit("e1", "ann", wanted)
    job = ledger.claim("gpus", str(ledger.hosts()[0].epoch))
    assert job
    assert "GPU-4" in job.gpus
    for state in ("building", "starting", "running"):
        ledger._call("advance", "gpus", str(ledger.hosts()[0].epoch), "e1", job.token, state, "", 100, "", "", "")
    first.end()
    fallen = Worker(library, at, FAKE_NVML_FALLEN="1")
    assert sick(ledger) == {"GPU-4", "GPU-7"}
    assert not ledger.hosts()[0].overcommitted, "it would take nothing at all"
    fallen.end()
    again = Worker(library, at)  # reset, the card answers
    assert sick(ledger) == {"GPU-7"}
    again.end()
