"""docs/security.md lists what a container has. This reads `docker inspect` and the container itself, and compares."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from lab import Heard, Lab
from trees import hashes

from common.environment import Job
from common.errors import ProvisionError
from common.states import Reason
from workers.preparation import prepare

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"


@pytest.fixture(scope="module")
def job(shared_lab: Lab) -> Job:
    return shared_lab.start()


@pytest.fixture(scope="module")
def seen(shared_lab: Lab, job: Job) -> dict[str, Any]:
    return shared_lab.inspect(job)


def listed(heading: str) -> set[str]:
    """The code words that begin the rows of the table under a heading."""
    section = DOCUMENT.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE))


def configured(shared_lab: Lab) -> set[str]:
    return {target for _, target in shared_lab.host.sources.mounts}


def test_no_mount_beyond_the_list(shared_lab: Lab, job: Job, seen: dict[str, Any]) -> None:
    layer = shared_lab.python(job, "import sys; print(sys.prefix)")
    names = {layer: "/opt/dcloud/layers/KEY"}
    mounts = {names.get(m["Destination"], m["Destination"]) for m in seen["Mounts"]} - configured(shared_lab)
    mounts |= set(seen["HostConfig"]["Tmpfs"])
    assert mounts == listed("Mounts")
    inside = shared_lab.python(
        job,
        "for line in open('/proc/self/mounts'):\n"
        "    words = line.split()\n"
        "    if not words[1].startswith(('/proc', '/sys', '/dev')): print(words[1], words[3])",
    )
    for line in inside.splitlines():
        target, options = line.split()
        read_only = options.split(",")[0] == "ro"
        assert read_only or {"nosuid", "nodev"} <= set(options.split(",")), line
        assert read_only or names.get(target, target) in listed("Mounts"), line


def test_no_variable_beyond_the_list(shared_lab: Lab, job: Job) -> None:
    names = set(shared_lab.python(job, "import os; print(*os.environ)").split())
    assert names - set(shared_lab.host.sources.user_env) <= listed("Variables")


def test_no_capability_and_no_way_to_one(shared_lab: Lab, job: Job) -> None:
    status = shared_lab.python(job, "print(open('/proc/self/status').read())")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert facts["NoNewPrivs"] == "1"
    assert facts["Seccomp"] == "2"
    assert facts["Uid"].split() == ["1000"] * 4
    _, said = shared_lab.run(job, "find", "/", "-xdev", "-perm", "/6000", "-type", "f")
    assert not [line for line in said.splitlines() if line.startswith("/") and "Permission denied" not in line]


def test_no_device_beyond_the_engines_own(shared_lab: Lab, job: Job) -> None:
    devices = shared_lab.python(
        job,
        "import os, stat\n"
        "for top, _, files in os.walk('/dev'):\n"
        "    for name in files:\n"
        "        mode = os.lstat(os.path.join(top, name)).st_mode\n"
        "        if stat.S_ISBLK(mode) or stat.S_ISCHR(mode): print(name)",
    )
    assert set(devices.split()) <= {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}


def test_no_socket_of_the_engine(shared_lab: Lab, job: Job) -> None:
    _, said = shared_lab.run(job, "find", "/", "-xdev", "-type", "s")
    assert not [line for line in said.splitlines() if line.startswith("/")]


def test_the_benchmark_for_containers(seen: dict[str, Any]) -> None:
    """CIS Docker Benchmark, section 5, by item; what is left out is said in docs/security.md."""
    config = seen["HostConfig"]
    checks = {
        "5.3 capabilities": config["CapDrop"] == ["ALL"] and not config["CapAdd"],
        "5.4 privileged": config["Privileged"] is False,
        "5.5 no host directories that matter": not {m["Source"] for m in seen["Mounts"]}
        & {"/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr"},
        "5.7 no published ports": not config["PortBindings"] and not config["PublishAllPorts"],
        "5.9 no host network": config["NetworkMode"] not in ("host", "default"),
        "5.10 memory": config["Memory"] > 0 and config["MemorySwap"] == config["Memory"],
        "5.11 cpu": config["CpuQuota"] > 0,
        "5.12 read-only root": config["ReadonlyRootfs"] is True,
        "5.14 no restart without end": config["RestartPolicy"]["Name"] in ("no", ""),
        "5.15 own process names": config["PidMode"] == "",
        "5.16 own ipc": config["IpcMode"] == "private",
        "5.17 no devices": not config["Devices"],
        "5.18 ulimits": {limit["Name"] for limit in config["Ulimits"]} >= {"nofile", "core"},
        "5.19 no shared mounts": not [m for m in seen["Mounts"] if "shared" in m.get("Propagation", "")],
        "5.20 own host name": config["UTSMode"] == "",
        "5.21 seccomp": not [o for o in config["SecurityOpt"] if "unconfined" in o],
        "5.24 own cgroup": config["CgroupParent"] == "",
        "5.25 no new privileges": "no-new-privileges" in config["SecurityOpt"],
        "5.28 pids": 0 < config["PidsLimit"] <= 4096,
        "5.29 not the engine's own bridge": config["NetworkMode"] != "bridge",
        "5.30 own user names or not root": seen["Config"]["User"] == "1000:1000",
        "5.31 no engine's socket": not [m for m in seen["Mounts"] if "docker.sock" in m["Source"]],
    }
    assert [name for name, holds in checks.items() if not holds] == []
    text = DOCUMENT.read_text()
    for number in set(map(str, range(1, 32))) - {name.split()[0].removeprefix("5.") for name in checks}:
        assert f"| 5.{number} |" in text, f"docs/security.md does not say why 5.{number} is not checked"


def test_what_the_engine_was_told_about_a_container(shared_lab: Lab, job: Job, seen: dict[str, Any]) -> None:
    """Limits, confinement and labels as the engine has them, and not as we meant them."""
    config, ram = seen["HostConfig"], job.contract.resources.ram_mib * 2**20
    assert (config["Memory"], config["MemorySwap"], config["ShmSize"]) == (ram, ram, ram // 2)
    assert config["CpuQuota"] * 1000 // config["CpuPeriod"] == job.contract.resources.cpu_milli
    assert (config["PidsLimit"], config["Init"], config["AutoRemove"]) == (1024, True, False)
    assert (config["CgroupnsMode"], config["NetworkMode"]) == ("private", shared_lab.host.network.name)
    assert config["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert {name: set(options.split(",")) >= {"nosuid", "nodev"} for name, options in config["Tmpfs"].items()} == {
        "/tmp": True,  # noqa: S108
        "/run": True,
    }
    assert {
        name: seen["Config"]["Labels"][f"dcloud.{name}"]
        for name in ("env", "token", "host", "owner", "prefix", "storage")
    } == {
        "env": job.id,
        "token": str(job.token),
        "host": shared_lab.host.settings.host,
        "owner": job.owner,
        "prefix": shared_lab.host.settings.key_prefix,
        "storage": "200MiB",
    }
    assert seen["Name"] == f"/dcloud-{job.id}"


def test_the_store_is_nobodys_but_roots(shared_lab: Lab) -> None:
    data = shared_lab.host.settings.data_dir
    assert oct(data.stat().st_mode & 0o777) == "0o700"
    assert data.stat().st_uid == 0


# What a user of a layer may think of in order to leave something for those who come after.
ATTACKS = """
import glob, mmap, os, pathlib, subprocess, sys
import six
site = pathlib.Path(six.__file__).parent
def attempt(what):
    try:
        what()
    except Exception as error:
        print(type(error).__name__)
def link():
    os.link(six.__file__, "/workspace/linked")
    open("/workspace/linked", "a").write("taken = 1")
def into_memory():
    with open(site / "pip/__init__.py", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:8] = b"x = 12345"[:8]
        memory.flush()
def through_proc():
    with open(six.__file__) as file:
        open(f"/proc/self/fd/{file.fileno()}", "a").write("taken = 1")
def through_another_root():
    open("/proc/1/root" + six.__file__, "a").write("taken = 1")
for what in (
    link, into_memory, through_proc, through_another_root,
    lambda: open(six.__file__, "a").write("\\ntaken = 1"),
    lambda: os.chmod(six.__file__, 0o777),
    lambda: (site / "sitecustomize.py").write_text("import sys; sys.taken = 1"),
    lambda: (site / "taken.pth").write_text("import sys; sys.taken = 1"),
    lambda: [open(path, "wb").write(b"taken") for path in glob.glob(f"{site}/__pycache__/*.pyc")],
    lambda: os.rename(site / "pip", site / "gone"),
    lambda: os.symlink("/opt/dcloud/layers", site / "pip"),
    lambda: os.truncate(sys.prefix + "/pyvenv.cfg", 0),
    lambda: subprocess.run(["umount", sys.prefix], check=True),
    lambda: subprocess.run(["unshare", "-rm", "mount", "-o", "remount,rw", "/"], check=True),
    lambda: open("/opt/dcloud/layers/left", "w"),
    lambda: open("/usr/lib/python3/left", "w"),
):
    attempt(what)
"""


def test_code_in_one_environment_changes_nothing_of_another(lab: Lab) -> None:
    """Not through hard links, the cache, the overlay or the volume: not for one that runs, nor for a later one."""
    heard = Heard()
    first, second = lab.job("six"), lab.start("six")
    lab.host.start(first, heard)
    layer = lab.python(first, "import sys; print(sys.prefix)").rpartition("/")[2]
    store = lab.host.builders.store
    places = [store / "layers" / layer, store / "cache", lab.host.settings.data_dir / "layers"]
    before = [hashes(place) for place in places]
    lab.python(first, ATTACKS)
    assert (
        lab.run(first, "grep", "-c", "taken", f"/opt/dcloud/layers/{layer}/lib/python3.11/site-packages/six.py")[0] == 0
    )
    assert [hashes(place) for place in places] == before
    later = lab.job()
    later = replace(later, contract=replace(later.contract, lock=heard.lock))
    lab.host.start(later, Heard())
    look = "import pip, six, sys; print(hasattr(six, 'taken'), hasattr(sys, 'taken'), pip.__file__ is None)"
    for other in (second, later):
        assert lab.python(other, look) == "False False False"
    assert lab.python(later, "import sys; print(sys.prefix)").endswith(layer)  # it is the very same layer


def test_an_image_that_declares_a_volume_is_refused(lab: Lab) -> None:
    """The engine would give each environment a directory of the host for it, without any limit."""
    engine = lab.host.engine
    base = lab.host.images.get(lab.job().contract, lambda *_: None, lambda _: None)
    tag = f"{lab.host.settings.host}:declares"
    source = engine.create({"Image": base.tag, "Cmd": ["true"]})
    try:
        engine.commit(source, tag, {"Volumes": {"/data": {}}})
        with pytest.raises(ProvisionError, match=r"declares volumes \(/data\)") as caught:
            prepare(engine, lab.host.sources, cast(Any, None), tag, [], None, lambda _: None)
        assert caught.value.reason == Reason.IMAGE_UNAVAILABLE
    finally:
        engine.remove(source)
        engine.remove_image(tag)
