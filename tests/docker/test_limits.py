"""Limits are walls: what goes beyond fails inside, and nowhere else."""

from __future__ import annotations

import time
from pathlib import Path

from lab import Lab

from common.environment import Job
from workers.usage import Kernel

MIB = 2**20


def logged(lab: Lab, job: Job) -> int:
    """Bytes of container log on the disk of the host."""
    log = Path(lab.inspect(job)["LogPath"])
    files = list(log.parent.glob(f"{log.name}*"))
    assert len(files) <= 3
    return sum(file.stat().st_size for file in files)


def test_storage_ends_where_it_was_said(lab: Lab) -> None:
    full, other = lab.start(storage="64MiB"), lab.start(storage="64MiB")
    code, said = lab.run(full, "dd", "if=/dev/zero", "of=/workspace/big", "bs=1M", "count=200")
    assert code != 0
    assert "No space left on device" in said
    written = int(lab.run(full, "stat", "-c", "%s", "/workspace/big")[1])
    assert 40 * MIB < written < 64 * MIB
    # home and installed libraries are on the same wall
    assert lab.run(full, "sh", "-c", "head -c 1000000 /dev/zero > ~/more")[0] != 0
    assert lab.run(other, "sh", "-c", "head -c 20000000 /dev/zero > ~/more")[0] == 0
    image = lab.host.volumes_.get(full.id).directory / "storage.img"
    assert image.stat().st_size == 64 * MIB


def test_memory_ends_where_it_was_said(lab: Lab) -> None:
    hog, other = lab.start(ram="64MiB"), lab.start(ram="64MiB")
    code, _ = lab.run(hog, "python", "-c", "x = bytearray(200 * 2**20)")
    assert code == 137
    assert lab.python(other, "x = bytearray(20 * 2**20); print(len(x))") == str(20 * MIB)
    assert lab.inspect(other)["State"]["Running"]


def test_tmp_counts_as_memory(lab: Lab) -> None:
    job = lab.start(ram="64MiB")
    code, said = lab.run(job, "dd", "if=/dev/zero", "of=/tmp/big", "bs=1M", "count=200")
    assert code != 0
    assert "No space left" in said


def test_a_fork_bomb_ends_at_its_own_wall(lab: Lab) -> None:
    bomb, other = lab.start(ram="4GiB"), lab.start()
    code, said = lab.run(
        bomb,
        "python",
        "-c",
        """
import os, time
made = 0
try:
    while made < 5000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        made += 1
except BlockingIOError:
    print('refused after', made)
""",
    )
    assert code == 0, said
    assert 0 < int(said.split("refused after ")[1]) < 1024
    assert lab.run(other, "echo", "alive") == (0, "alive\n")
    lab.host.stop(bomb.id, 1)


def test_cpu_is_shared_as_said(lab: Lab) -> None:
    job = lab.start(cpu="0.2")
    spent = lab.python(
        job,
        """
import time
begin = time.monotonic()
while time.monotonic() - begin < 2:
    pass
print(time.process_time() / (time.monotonic() - begin))
""",
    )
    assert float(spent) < 0.35


def test_a_flood_of_the_log_is_cut_off(lab: Lab) -> None:
    """A program in the environment can write where the container's main process does."""
    job = lab.start()
    code, said = lab.run(job, "sh", "-c", "head -c 60M /dev/zero | tr '\\0' 'a' | fold -w 1000 > /proc/1/fd/1")
    assert code == 0, said
    assert 15 * MIB < logged(lab, job) < 32 * MIB
    assert lab.run(job, "echo", "alive") == (0, "alive\n")


def test_who_takes_all_it_can_takes_no_more_than_its_own(lab: Lab) -> None:
    """Four that bring down a machine, each in a small environment: what they use together leaves others theirs.

    What they use is what the kernel counted, so that whatever else this machine does makes no difference.
    """
    greedy = {
        "a fork bomb": ["sh", "-c", "f() { while :; do f & done; }; f"],
        "a memory hog": ["sh", "-c", "while :; do python -c 'x = bytearray(500 * 2**20)'; done"],
        "a disk filler": ["sh", "-c", "while :; do head -c 100M /dev/zero > big; sync; done"],
        "a log flood": [
            "sh",
            "-c",
            "while :; do head -c 10M /dev/zero | tr '\\0' a | fold -w 1000 > /proc/1/fd/1; done",
        ],
    }
    jobs = {name: lab.start(cpu="0.2", ram="128MiB", storage="64MiB") for name in greedy}
    commands = [lab.host.exec(jobs[name].id, command, tty=False) for name, command in greedy.items()]
    pids = {name: lab.inspect(job)["State"]["Pid"] for name, job in jobs.items()}
    kernel = Kernel()
    time.sleep(1)
    before = {name: kernel.counters(pid) for name, pid in pids.items()}
    other = lab.start()
    assert lab.python(other, "x = bytearray(50 * 2**20); open('f', 'wb').write(x); print(len(x))") == str(50 * MIB)
    time.sleep(2)
    for name, pid in pids.items():
        now, then = kernel.counters(pid), before[name]
        used = (now.cpu_nanoseconds - then.cpu_nanoseconds) / 1e9 / (now.at - then.at)
        assert used < 0.2 * 1.25, name
        assert now.ram_bytes <= 128 * MIB, name
        assert now.pids <= 1024, name
    assert kernel.counters(pids["a fork bomb"]).pids > 100, "it was one"
    assert 2**16 < logged(lab, jobs["a log flood"]) < 32 * MIB, "it was one"
    assert kernel.counters(pids["a memory hog"]).oom_kills > 0, "it was one"
    for job in jobs.values():
        assert lab.host.fill(job.id).used_bytes < 64 * MIB
        lab.host.stop(job.id, 1)
        assert [found for found in lab.host.containers() if found.env_id == job.id] == []
    for command in commands:
        command.close()
    assert lab.run(other, "echo", "alive") == (0, "alive\n")
