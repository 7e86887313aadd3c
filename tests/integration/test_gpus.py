"""GPUs through the real NVML binding, on a machine that has none: the binding loads a library that we build."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PRINT = "import dataclasses, json; from workers.gpus import driver; print(json.dumps(dataclasses.asdict(driver())))"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the stand-in."""
    directory = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    command = ["cc", "-shared", "-fPIC", "-o", str(directory / "libnvidia-ml.so.1"), str(source)]
    subprocess.run(command, check=True)
    return directory


def driver(**env: str) -> dict[str, Any]:
    """The driver as another process sees it: a library is looked for when a process starts."""
    done = subprocess.run(
        [sys.executable, "-c", PRINT], env={**os.environ, **env}, check=True, capture_output=True, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_cards_and_slices_by_uuid(library: Path) -> None:
    found = driver(LD_LIBRARY_PATH=str(library))
    assert (found["version"], found["cuda"]) == ("580.65.06", "13.1")
    gpus = {gpu["uuid"]: gpu for gpu in found["gpus"]}
    # the cut card is given out by its slices, and the lost one not at all
    assert sorted(gpus) == ["GPU-0", "GPU-1", "GPU-3", "GPU-4", "GPU-6", "GPU-7", "MIG-2-0", "MIG-2-1"]
    assert gpus["GPU-0"]["model"] == "NVIDIA H200"
    assert gpus["GPU-0"]["memory_mib"] == 143771
    assert gpus["MIG-2-1"]["parent"] == "GPU-2"
    assert gpus["MIG-2-1"]["memory_mib"] == 71424


def test_no_driver_is_no_gpu(tmp_path: Path) -> None:
    broken = tmp_path / "libnvidia-ml.so.1"
    broken.write_text("not a library")
    assert driver(LD_LIBRARY_PATH=str(tmp_path)) == {"version": "", "cuda": "", "gpus": []}
