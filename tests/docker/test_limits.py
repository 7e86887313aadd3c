"""Limits are walls: what goes beyond fails inside, and nowhere else."""

from __future__ import annotations

from lab import Lab

MIB = 2**20


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
