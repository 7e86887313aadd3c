"""GPUs reach a container by UUID, on a real engine of our own with a stub in the place of NVIDIA's hook.

An engine knows of NVIDIA's hook only if it finds it when it starts, so these tests start one, on its own socket and
with its own data, beside the machine's. The stub writes down what the hook would have been told.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.contract import parse
from common.environment import Job
from common.settings import Settings
from workers.confinement import Place, host_config
from workers.containers import _found
from workers.engine import ENV, HOST, PREFIX, TOKEN, Engine
from workers.images import BaseImage
from workers.layers import Layer
from workers.sources import Sources
from workers.volumes import Volume

HOOK = """#!{python}
import json, pathlib, sys
state = json.load(sys.stdin)
config = json.loads(pathlib.Path(state["bundle"], "config.json").read_text())
names = ("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES")
env = dict(line.split("=", 1) for line in config["process"]["env"])
with open("{record}", "a") as record:
    record.write(json.dumps([sys.argv[1], *(env.get(name) for name in names)]) + "\\n")
"""
PROGRAM = "#include <unistd.h>\nint main(void) { pause(); return 0; }\n"
PLACE = Place(
    base=BaseImage("pause:1", "k", "3.11.2", "/usr/bin/python3"),
    layer=Layer("abc", Path("/nowhere"), "lock"),
    volume=Volume(Path("/nowhere")),
    network="none",
    sources=Sources(builder_env={}, user_env={}, mounts=(), endpoints=(), on_loopback=False),
)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hook") / "record"


@pytest.fixture(scope="module")
def private(record: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that finds the stub, and an image whose program waits."""
    hook = record.with_name("nvidia-container-runtime-hook")
    hook.write_text(HOOK.format(python=sys.executable, record=record))
    hook.chmod(0o755)
    directory = tmp_path_factory.mktemp("engine")
    # In a network of its own: an engine without a bridge removes docker0, which is the machine's engine's.
    options = [
        f"--host=unix://{directory}/socket", f"--data-root={directory}/data", f"--exec-root={directory}/exec",
        f"--pidfile={directory}/pid", "--bridge=none", "--iptables=false", "--storage-driver=vfs",
        "--containerd-namespace=dcloud-test", "--containerd-plugins-namespace=dcloud-test-plugins",
    ]  # fmt: skip
    env = {**os.environ, "PATH": f"{hook.parent}:{os.environ['PATH']}"}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(["unshare", "--net", "dockerd", *options], env=env, stdout=log, stderr=log)
    try:
        _wait_for(process, directory / "log")
        engine = Engine(
            Settings(redis_url="x", host_name="h", key_prefix="t", docker_host=f"unix://{directory}/socket")
        )
        engine.load(iter([_image(directory)]), "pause:1")
        yield engine
        for row in engine.containers():
            engine.remove(row["Id"])
        engine.close()
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if "API listen on" in log.read_text():
            return
        time.sleep(0.1)
    raise RuntimeError(f"the engine did not start:\n{log.read_text()[-3000:]}")


def _image(directory: Path) -> bytes:
    source, program = directory / "pause.c", directory / "pause"
    source.write_text(PROGRAM)
    subprocess.run(["cc", "-static", "-o", program, source], check=True)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(program, "pause")
    return archive.getvalue()


def given(engine: Engine, record: Path, *gpus: str) -> list[Any]:
    """What the hook is told where a container gets these GPUs, which are also those that we read from it."""
    contract = parse({"resources": {"ram": "64MiB", "gpu": str(len(gpus))}})
    job = Job(id="e1", name="lab", owner="ann", token=1, attempt=1, contract=contract, gpus=gpus)
    wanted = {
        key: value for key, value in host_config(job, PLACE, engine_settings()).items() if key == "DeviceRequests"
    }
    labels = {ENV: "e1", TOKEN: "1", HOST: "h", PREFIX: "t"}
    config = {
        "Image": "pause:1", "Cmd": ["/pause"], "Labels": labels, 
        "HostConfig": {"NetworkMode": "none", **wanted},
    }  # fmt: skip
    container_id = engine.create(config)
    engine.start(container_id)
    found = _found(engine.inspect(container_id))
    assert found
    assert found.gpus == gpus
    engine.remove(container_id)
    lines = record.read_text().splitlines() if record.exists() else []
    record.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


def engine_settings() -> Settings:
    return Settings(redis_url="x", host_name="h", key_prefix="t")


def test_the_hook_is_told_the_uuids_of_the_allocation(private: Engine, record: Path) -> None:
    uuids = ("GPU-5a0b1c2d-0000-1111-2222-333344445555", "MIG-9f0b1c2d-0000-1111-2222-333344445555")
    assert given(private, record, *uuids) == [["prestart", ",".join(uuids), "compute,utility"]]
    assert given(private, record, uuids[0]) == [["prestart", uuids[0], "compute,utility"]]


def test_without_gpus_the_hook_is_not_asked(private: Engine, record: Path) -> None:
    assert given(private, record) == []
