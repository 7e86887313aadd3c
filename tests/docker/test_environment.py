"""What a user finds inside a running environment."""

from __future__ import annotations

import json

import pytest
from lab import Heard, Lab, again
from trees import hashes

from common.environment import Job


@pytest.fixture(scope="module")
def job(shared_lab: Lab) -> Job:
    return shared_lab.start("numpy", ram="256MiB", cpu="0.5", storage="200MiB")


def test_python_and_libraries(shared_lab: Lab, job: Job) -> None:
    said = json.loads(
        shared_lab.python(
            job,
            "import json, numpy, platform, sys; "
            "print(json.dumps([platform.python_version(), sys.prefix, numpy.__file__, int(numpy.ones(3).sum())]))",
        )
    )
    assert said[0].startswith("3.11.")
    assert said[1].startswith("/opt/dcloud/layers/")
    assert said[2].startswith(said[1])
    assert said[3] == 3


def test_who_and_where(shared_lab: Lab, job: Job) -> None:
    assert shared_lab.run(job, "id") == (0, "uid=1000(user) gid=1000(user) groups=1000(user)\n")
    assert shared_lab.run(job, "pwd") == (0, "/workspace\n")
    assert shared_lab.run(job, "hostname") == (0, f"lab-{job.id}\n")
    assert shared_lab.run(job, "sh", "-c", "echo $HOME; touch ~/a a /tmp/a && rm ~/a a /tmp/a") == (0, "/home/user\n")


def test_the_root_cannot_be_written(shared_lab: Lab, job: Job) -> None:
    for path in ("/x", "/etc/x", "/usr/lib/x", "/opt/dcloud/x", "/opt/dcloud/layers/x"):
        code, said = shared_lab.run(job, "touch", path)
        assert code != 0, path
        assert "Read-only file system" in said or "Permission denied" in said
    mounts = shared_lab.run(job, "cat", "/proc/self/mounts")[1].splitlines()
    (root,) = [line.split() for line in mounts if line.split()[1] == "/"]
    assert "ro" in root[3].split(",")


def test_limits_as_the_kernel_has_them(shared_lab: Lab, job: Job) -> None:
    read = shared_lab.python(
        job,
        """
import pathlib
root = pathlib.Path('/sys/fs/cgroup')
def first(*names):
    return next(p.read_text().split() for n in names if (p := root / n).exists())
print(first('memory.max', 'memory/memory.limit_in_bytes')[0])
quota = first('cpu.max', 'cpu/cpu.cfs_quota_us')
period = quota[1:] or first('cpu/cpu.cfs_period_us')
print(int(quota[0]) / int(period[0]))
print(first('pids.max', 'pids/pids.max')[0])
""",
    )
    assert read.split() == [str(256 * 2**20), "0.5", "1024"]
    swap = shared_lab.inspect(job)["HostConfig"]["MemorySwap"]
    assert swap == 256 * 2**20


def test_libraries_see_their_share_of_the_cores(shared_lab: Lab, job: Job) -> None:
    assert shared_lab.python(job, "import os; print(os.environ['OMP_NUM_THREADS'])") == "1"


def test_pip_works_inside_and_changes_nobody_elses_layer(shared_lab: Lab, job: Job) -> None:
    key = shared_lab.python(job, "import sys; print(sys.prefix)").rpartition("/")[2]
    store = shared_lab.host.builders.store
    before = hashes(store / "layers" / key)  # files of the cache, too: they are the same ones
    code, said = shared_lab.run(job, "pip", "install", "--quiet", "six")
    assert code == 0, said
    assert shared_lab.python(job, "import six; print(six.__version__)")
    code, said = shared_lab.run(job, "pip", "uninstall", "--quiet", "--yes", "numpy")
    assert code == 0, said
    code, said = shared_lab.run(job, "python", "-c", "import numpy")
    assert "No module named 'numpy'" in said
    edited = "import pip; open(pip.__file__, 'a').write('edited = 1\\n')"
    shared_lab.python(job, edited)
    assert shared_lab.python(job, "import pip; print(pip.edited)") == "1"
    assert hashes(store / "layers" / key) == before
    other = shared_lab.start("numpy")
    assert shared_lab.python(other, "import numpy, pip; print(hasattr(pip, 'edited'))") == "False"


def test_files_and_installed_libraries_survive_stop_and_start(lab: Lab) -> None:
    job = lab.start("six")
    lab.run(job, "sh", "-c", "echo mine > /workspace/file; echo mine > ~/file")
    lab.run(job, "pip", "install", "--quiet", "toolz")
    lab.host.stop(job.id)
    assert [c for c in lab.host.containers() if c.env_id == job.id] == []
    lab.host.start(again(job), Heard())
    assert lab.run(job, "cat", "/workspace/file", "/home/user/file") == (0, "mine\nmine\n")
    assert lab.python(job, "import six, toolz; print('both')") == "both"


def test_installed_libraries_survive_a_newer_uv(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    job = lab.start("six")
    lab.run(job, "pip", "install", "--quiet", "toolz")
    lab.host.stop(job.id)
    monkeypatch.setattr(lab.host.layers, "uv_version", "99.0")
    lab.host.start(again(job), Heard())
    assert lab.python(job, "import six, toolz; print('both')") == "both"


def test_a_restart_keeps_the_versions_that_it_was_made_with(lab: Lab) -> None:
    job = lab.start("six")
    lab.host.stop(job.id)
    answers = {path: path.read_text() for path in lab.host.resolutions.directory.iterdir()}
    try:
        for path in answers:
            path.write_text("what the libraries would be today")
        lab.host.start(again(job), Heard())
        assert lab.python(job, "import six; print(six.__name__)") == "six"
    finally:
        for path, text in answers.items():
            path.write_text(text)
