"""What the calls of an environment's programs meet: the engine's own seccomp profile, and ours that quotas need."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab

from common.settings import Settings
from workers.loop_storage import LoopStorage
from workers.provision import Host
from workers.seccomp import narrowed

ORDINARY = """
import multiprocessing, socket, subprocess, termios, threading
threads = [threading.Thread(target=print, args=["thread"]) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(subprocess.run(["sh", "-c", "echo program | cat"], capture_output=True, text=True).stdout.strip())
with multiprocessing.get_context("fork").Pool(2) as pool: print(sum(pool.map(abs, [-1, -2])))
with socket.create_server(("127.0.0.1", 0)) as server: socket.create_connection(server.getsockname()).close()
import pty
master, slave = pty.openpty()
print(len(termios.tcgetattr(slave)))
"""
# Calls that answer EINVAL, EFAULT or the like where they are let through.
FORBIDDEN = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
calls = {"unshare": (272, 0x10000000), "setns": (308, -1, 0), "mount": (165, 0, 0, 0, 0, 0), "umount2": (166, 0, 0),
         "pivot_root": (155, 0, 0), "fsopen": (430, 0, 0), "open_tree": (428, -1, 0, 0), "keyctl": (250, 0, 0, 0),
         "add_key": (248, 0, 0, 0, 0, 0), "request_key": (249, 0, 0, 0, 0)}
for name, (number, *arguments) in calls.items():
    ctypes.set_errno(0)
    print(name, libc.syscall(number, *map(ctypes.c_long, arguments)), ctypes.get_errno())
ctypes.set_errno(0)
CLONE_NEWUSER, SIGCHLD = 0x10000000, 17
print("clone", libc.syscall(56, ctypes.c_long(CLONE_NEWUSER | SIGCHLD), 0, 0, 0, 0), ctypes.get_errno())
"""


@pytest.fixture(scope="module", params=["the engine's", "ours"])
def inside(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "ours":
            patch.setattr(LoopStorage, "seccomp", narrowed(Path(settings.seccomp_profile).read_text()))
        host = Host(settings)
        lab = Lab(host)
        yield lab
        lab.clear()
        host.teardown()
        host.close()


def test_ordinary_programs_work(inside: Lab) -> None:
    said = inside.python(inside.start(), ORDINARY).split()
    assert said == ["thread"] * 3 + ["program", "3", "7"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="calls go by their numbers, which are another machine's")
def test_no_name_spaces_mounts_and_keys(inside: Lab) -> None:
    job = inside.start()
    said = [line.split() for line in inside.python(job, FORBIDDEN).splitlines()]
    assert len(said) == 11
    assert [line for line in said if line[1:] != ["-1", "1"]] == []  # EPERM
    assert inside.run(job, "unshare", "--user", "--map-root-user", "true")[0] != 0
