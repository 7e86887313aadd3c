"""What a container uses, from the kernel's files as either version of cgroups writes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.states import Reason
from workers.containers import Found
from workers.endings import Facts, why
from workers.sampler import Sampler, _use
from workers.usage import Counters, Kernel
from workers.volumes import Fill

DEVICES = """Inter-|   Receive                         |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:  999    9    0    0    0     0          0         0     999    9    0    0    0     0       0          0
  eth0: 1500   10    0    0    0     0          0         0     700    8    0    0    0     0       0          0
"""
V1 = {
    "cpuacct/docker/c/cpuacct.usage": "5000000000\n",
    "memory/docker/c/memory.usage_in_bytes": "4096000\n",
    "memory/docker/c/memory.stat": "cache 9\ntotal_inactive_file 96000\n",
    "memory/docker/c/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    "pids/docker/c/pids.current": "7\n",
}
V2 = {
    "system.slice/docker-c.scope/cpu.stat": "usage_usec 5000000\nuser_usec 1\n",
    "system.slice/docker-c.scope/memory.current": "4096000\n",
    "system.slice/docker-c.scope/memory.stat": "anon 9\ninactive_file 96000\n",
    "system.slice/docker-c.scope/memory.events": "low 0\noom 3\noom_kill 3\n",
    "system.slice/docker-c.scope/pids.current": "7\n",
}


def kernel(root: Path, files: dict[str, str], mounts: str, groups: str) -> Kernel:
    for name, text in {
        **{f"cgroup/{name}": text for name, text in files.items()},
        "proc/self/mountinfo": mounts.replace("CGROUP", str(root / "cgroup")),
        "proc/42/cgroup": groups,
        "proc/42/net/dev": DEVICES,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Kernel(root / "proc")


def seen(counters: Counters) -> tuple[int, ...]:
    c = counters
    return c.cpu_nanoseconds, c.ram_bytes, c.pids, c.oom_kills, c.received_bytes, c.sent_bytes


EXPECTED = (5_000_000_000, 4_000_000, 7, 3, 1500, 700)


def test_version_1_beside_an_empty_version_2(tmp_path: Path) -> None:
    mounts = (
        "".join(
            f"3{n} 31 0:3{n} / CGROUP/{name} rw,relatime shared:1 - cgroup cgroup rw,{name}\n"
            for n, name in enumerate(("cpuacct", "memory", "pids"))
        )
        + "41 31 0:38 / CGROUP/unified rw - cgroup2 cgroup2 rw\n"
    )
    groups = "8:pids:/docker/c\n4:memory:/docker/c\n2:cpuacct:/docker/c\n9:name=systemd:/docker/c\n0::/docker/c\n"
    assert seen(kernel(tmp_path, V1, mounts, groups).counters(42)) == EXPECTED


def test_version_2(tmp_path: Path) -> None:
    mounts = "24 1 0:1 / / rw - ext4 /dev/vda rw\n41 31 0:38 / CGROUP rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    assert seen(kernel(tmp_path, V2, mounts, "0::/system.slice/docker-c.scope\n").counters(42)) == EXPECTED


def test_a_worker_that_sees_a_part_of_the_hierarchy(tmp_path: Path) -> None:
    mounts = "41 31 0:38 /machine CGROUP rw - cgroup2 cgroup2 rw\n"
    assert seen(kernel(tmp_path, V2, mounts, "0::/machine/system.slice/docker-c.scope\n").counters(42)) == EXPECTED


def test_a_container_that_has_ended(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="43"):
        kernel(tmp_path, V2, "41 31 0:38 / CGROUP rw - cgroup2 cgroup2 rw\n", "0::/\n").counters(43)


def test_rates_are_those_since_the_look_before() -> None:
    before = Counters(10.0, 1_000_000_000, 5, 1, 0, 1000, 100)
    now = Counters(14.0, 3_000_000_000, 7, 2, 1, 5000, 300)
    use = _use(before, now, Fill(50, 100, True), [])
    assert (use.cpu_milli, use.received_bytes_per_second, use.sent_bytes_per_second) == (500, 1000, 50)
    assert (use.ram_bytes, use.pids, use.oom_kills, use.storage_bytes) == (7, 2, 1, 50)


@pytest.mark.parametrize(
    ("code", "facts", "engines_word", "expected"),
    [
        (0, Facts(), False, Reason.CONTAINER_EXITED),
        (137, Facts(oom_kills=1, oom_at=95.0), False, Reason.OUT_OF_MEMORY),
        # killed by somebody, long after a program in it was killed for its RAM
        (137, Facts(oom_kills=1, oom_at=5.0), True, Reason.CONTAINER_EXITED),
        (1, Facts(oom_kills=1, oom_at=99.0), True, Reason.CONTAINER_EXITED),
        # nobody looked while it lived
        (137, None, True, Reason.OUT_OF_MEMORY),
        (137, None, False, Reason.CONTAINER_EXITED),
    ],
)
def test_why_a_container_ended(code: int, facts: Facts | None, engines_word: bool, expected: Reason) -> None:
    reason, message = why(code, facts, engines_word, 100.0)
    assert reason is expected
    assert f"Exit code {code}." in message
    assert ("for want of RAM: 1." in message) == bool(facts and facts.oom_kills)


def test_of_what_is_wrong_the_worst_is_told() -> None:
    member = SimpleNamespace(ledger=SimpleNamespace(redis=None, keys=None))
    sampler = Sampler(cast(Any, member), cast(Any, None))
    found = Found("e1", 1, "c", "n", "h", True, None, False, 0.0, 1, False, ("GPU-1",))
    full = Fill(95, 100, True)
    assert sampler._wrong(found, Fill(5, 100, True)) is None
    assert sampler._wrong(found, full) is Reason.STORAGE_NEARLY_FULL
    assert sampler._wrong(replace(found, paused=True), full) is Reason.PAUSED
    sampler.sick_gpus = frozenset({"GPU-1", "GPU-2"})
    assert sampler._wrong(replace(found, paused=True), full) is Reason.GPU_LOST
    assert sampler._wrong(found, Fill(95, 100, False)) is Reason.STORAGE_BROKEN
    assert sampler._wrong(replace(found, gpus=("GPU-3",)), None) is None
