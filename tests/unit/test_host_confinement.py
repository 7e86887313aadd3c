"""What a container gets is decided by one function, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from common.contract import parse
from common.environment import Job
from common.settings import Settings
from workers.cdi import offers
from workers.confinement import Place, body, host_config, hostname, variables
from workers.images import BaseImage
from workers.layers import Layer
from workers.sources import Sources
from workers.volumes import Volume

GIB = 2**30
SETTINGS = Settings(redis_url="redis://x", key_prefix="dcloud", host_name="h1")
SOURCES = Sources(
    builder_env={"UV_DEFAULT_INDEX": "https://me:secret@index.lab/simple"},
    user_env={"PIP_CERT": "/etc/dcloud/ca-certificates.crt"},
    mounts=(("/srv/wheels", "/srv/wheels"),),
    endpoints=(),
    on_loopback=False,
)
PLACE = Place(
    base=BaseImage("dcloud-base:x", "k", "3.11.2", "/usr/bin/python3"),
    layer=Layer("abc", Path("/data/store/layers/abc"), "lock"),
    volume=Volume(Path("/data/volumes/e1")),
    network="dcloud",
    sources=SOURCES,
)


def job(gpus: tuple[str, ...] = (), **resources: str) -> Job:
    wanted = {"ram": "1GiB", "cpu": "1.5", "storage": "1GiB", **resources}
    contract = parse({"env-name": "my_lab.1", "resources": wanted})
    return Job(id="e1", name="my_lab.1", owner="ann", token=7, attempt=1, contract=contract, gpus=gpus)


def test_limits() -> None:
    config = host_config(job(), PLACE, SETTINGS)
    assert config["Memory"] == config["MemorySwap"] == GIB
    assert config["CpuQuota"] / config["CpuPeriod"] == 1.5
    assert config["PidsLimit"] == 1024
    assert config["ShmSize"] == GIB // 2
    assert config["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert {limit["Name"] for limit in config["Ulimits"]} == {"nofile", "core"}


def test_the_smallest_cpu_share_is_one_that_the_kernel_takes() -> None:
    assert host_config(job(cpu="0.01"), PLACE, SETTINGS)["CpuQuota"] >= 1000


def test_confinement() -> None:
    config = host_config(job(), PLACE, SETTINGS)
    assert config["CapDrop"] == ["ALL"]
    assert config["SecurityOpt"] == ["no-new-privileges"]
    assert config["ReadonlyRootfs"] is True
    assert config["RestartPolicy"] == {"Name": "no"}
    assert config["NetworkMode"] == "dcloud"
    assert all("nosuid" in options and "nodev" in options for options in config["Tmpfs"].values())
    for key in ("Privileged", "CapAdd", "Devices", "PidMode", "UTSMode", "Binds", "PortBindings", "VolumesFrom"):
        assert key not in config
    assert body(job(), PLACE, SETTINGS)["User"] == "1000:1000"


def test_mounts_are_the_volume_the_layer_and_what_the_machine_is_configured_with() -> None:
    mounts = {mount["Target"]: mount for mount in host_config(job(), PLACE, SETTINGS)["Mounts"]}
    assert set(mounts) == {"/home/user", "/workspace", "/opt/dcloud/layers/abc", "/srv/wheels"}
    assert mounts["/srv/wheels"]["ReadOnly"] is True
    assert mounts["/opt/dcloud/layers/abc"]["Source"] == "dcloud-e1"


def test_gpus_by_uuid_and_none_without() -> None:
    without = host_config(job(), PLACE, SETTINGS)
    assert "DeviceRequests" not in without
    assert variables(job(), PLACE)["NVIDIA_VISIBLE_DEVICES"] == "void"
    with_two = host_config(job(gpus=("GPU-a", "GPU-b")), PLACE, SETTINGS)
    (request,) = with_two["DeviceRequests"]
    assert request["DeviceIDs"] == ["GPU-a", "GPU-b"]
    assert "Count" not in request
    assert "NVIDIA_VISIBLE_DEVICES" not in variables(job(gpus=("GPU-a",)), PLACE)


def test_what_the_builders_may_know_is_not_told_to_users() -> None:
    assert "secret" not in str(body(job(), PLACE, SETTINGS))


def test_variables() -> None:
    values = variables(job(), PLACE)
    assert values["PATH"].startswith("/opt/dcloud/layers/abc/bin:")
    assert values["VIRTUAL_ENV"] == "/opt/dcloud/layers/abc"
    assert values["HOME"] == "/home/user"
    assert values["OMP_NUM_THREADS"] == "2"  # one and a half cores


def test_a_users_variables_are_set_but_never_over_the_environments_own() -> None:
    mine = replace(job().contract, variables=(("OMP_NUM_THREADS", "1"), ("HF_HOME", "/workspace/m"), ("PATH", "/evil")))
    values = variables(replace(job(), contract=mine), PLACE)
    assert (values["OMP_NUM_THREADS"], values["HF_HOME"]) == ("1", "/workspace/m")
    assert values["PATH"].startswith("/opt/dcloud/layers/"), "even if the contract's check had a hole"


def test_labels_say_whose_it_is() -> None:
    assert body(job(), PLACE, SETTINGS)["Labels"] == {
        "dcloud.env": "e1",
        "dcloud.token": "7",
        "dcloud.host": "h1",
        "dcloud.owner": "ann",
        "dcloud.prefix": "dcloud",
        "dcloud.request": "",
        "dcloud.storage": "1024MiB",
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my_lab.1", "my-lab-1-e1"),
        ("a" * 63, "a" * 60 + "-e1"),
        ("a._-", "a-e1"),
        ("Ünïcode", "n-code-e1"),
        ("...", "e1"),
    ],
)
def test_host_names(name: str, expected: str) -> None:
    assert hostname(name, "e1") == expected


def test_pids_are_a_setting() -> None:
    assert host_config(job(), PLACE, replace(SETTINGS, pids_limit=99))["PidsLimit"] == 99


def test_gpus_by_cdi_where_the_engine_has_them_so() -> None:
    config = host_config(job(gpus=("GPU-a", "GPU-b")), replace(PLACE, cdi=True), SETTINGS)
    (request,) = config["DeviceRequests"]
    assert request == {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=GPU-a", "nvidia.com/gpu=GPU-b"]}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("nvidia.yaml", "kind: nvidia.com/gpu\ndevices:\n- name: GPU-a\n- name: GPU-b\n- name: all\n", True),
        ("nvidia.json", '{"kind": "nvidia.com/gpu", "devices": [{"name": "GPU-a"}, {"name": "GPU-b"}]}', True),
        ("nvidia.yaml", "kind: nvidia.com/gpu\ndevices:\n- name: '0'\n- name: GPU-a\n", False),
        ("other.yaml", "kind: vendor.com/net\ndevices:\n- name: GPU-a\n- name: GPU-b\n", False),
        ("broken.yaml", "kind: [", False),
        ("notes.txt", "kind: nvidia.com/gpu\ndevices:\n- name: GPU-a\n- name: GPU-b\n", False),
    ],
)
def test_cdi_is_used_where_every_gpu_is_named_by_its_uuid(tmp_path: Path, name: str, text: str, expected: bool) -> None:
    (tmp_path / name).write_text(text)
    assert offers([str(tmp_path)], ["GPU-a", "GPU-b"]) is expected
    assert offers([], ["GPU-a"]) is False
