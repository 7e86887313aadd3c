"""Passwords are not computed on the loop that serves everybody."""

from __future__ import annotations

import subprocess
import sys
import threading

from api.apart import apart

SERVED = """
from gevent import monkey
monkey.patch_all()
import gevent
from api.apart import AT_ONCE, apart

ident, sleep = (monkey.get_original(*name) for name in (("_thread", "get_ident"), ("time", "sleep")))
inside = most = 0

def work():
    global inside, most
    inside += 1
    most = max(most, inside)
    sleep(0.2)
    inside -= 1
    return ident()

ticks = 0
def tick():
    global ticks
    while True:
        gevent.sleep(0.01)
        ticks += 1

gevent.spawn(tick)
jobs = [gevent.spawn(apart, work) for _ in range(6)]
gevent.joinall(jobs, raise_error=True)
assert ident() not in {job.value for job in jobs}, "on the loop"
assert most <= AT_ONCE, most
assert ticks > 5, ticks
"""


def test_the_loop_goes_on_while_a_few_compute() -> None:
    subprocess.run([sys.executable, "-c", SERVED], check=True, timeout=60)


def test_without_a_loop_it_is_just_a_call() -> None:
    assert apart(threading.get_ident) == threading.get_ident()
