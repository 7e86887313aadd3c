"""The checker of the ledger's promises, itself checked: it sees whatever is made to break one."""

from __future__ import annotations

import time
from collections.abc import Callable

import ledger_state
import pytest
from ledger_parts import A100, PREFIX, OneHost, wants
from redis import Redis

from common.ledger import Ledger, Quota

pytest_plugins = ["ledger_fixtures"]


@pytest.fixture
def populated(ledger: Ledger) -> Ledger:
    """Environments in every kind of place, and a reservation."""
    ledger.configure(starve_seconds=0.001)
    host, other = OneHost(ledger, gpus=A100, storage_mib=10_000), OneHost(ledger, "h2")
    ledger.set_quota("cleo", Quota(environments=0))
    ledger.submit("runs", "ann", wants(gpu="2", lifetime="1h"))
    ledger.submit("stopped", "ann", wants(gpu="1"))
    ledger.submit("pinned", "bob", wants(gpu="1"))
    for _ in range(3):
        host.run(host.claim())
    for name in ("stopped", "pinned"):
        host.stop(name)
    ledger.start("pinned")
    ledger.submit("ended", "bob", wants())
    ledger.delete("ended")
    ledger.submit("parked", "cleo", wants(wait=True))
    ledger.submit("big", "bob", wants(gpu="4"))
    time.sleep(0.01)
    ledger.expire()
    ledger.submit("waits", "bob", wants(cpu="9", wait=True))
    assert other.claim() is None
    ledger_state.check(ledger.redis, PREFIX, history=True)
    return ledger


ANY = ":debian 12 python 3.11"  # what a contract asks for that does not say
BREAKS: dict[str, Callable[[Redis], object]] = {
    "every gpu is in one": lambda r: r.hset("test:allocs:h2", "runs2", r.hget("test:allocs:h1", "runs")),
    "free and allocations": lambda r: r.hincrby("test:host:h1", "free_cpu", -1000),
    "free and allocations are": lambda r: r.hset("test:host:h1", "free", ""),
    "every environment is in one place": lambda r: r.zadd("test:queue:1000:1024:1024:0:0:", {"runs": 1}),
    "every environment": lambda r: r.zrem("test:pinned:h1", "pinned"),
    "allocations and records": lambda r: r.hset("test:env:runs", "token", "5"),
    "what ended holds": lambda r: r.hset("test:env:ended", "gpus", "GPU-0"),
    "owners hold what": lambda r: r.hset("test:ledger", "u:ann", "1|1|1|1|1"),
    "queues are in order": lambda r: r.zadd("test:shapes", {"9000:1024:1024:0:0:": 1}),
    "queues are in": lambda r: r.hset("test:host:h1", "pinned", "0"),
    "queues are": lambda r: r.hdel("test:parked", "cleo"),
    "reservations agree": lambda r: r.hset("test:host:h2", "reserved", "big"),
    "reservations": lambda r: r.hset("test:env:big", "reserved", ""),
    "indexes of hosts agree": lambda r: r.zrem("test:room:cpu", "h2"),
    "indexes of hosts": lambda r: r.zadd("test:most:81920|NVIDIA A100-SXM4-80GB", {"h2": 1}),
    "hosts are known": lambda r: r.zadd("test:hosts", {"h1": -5}),
    "gpus belong": lambda r: r.hset("test:gpus", "GPU-0", "elsewhere"),
    "indexes of environments": lambda r: r.zrem("test:envs:ann", "runs"),
    "indexes of environments agree": lambda r: r.zrem("test:lifetimes", "runs"),
    "histories are legal": lambda r: r.xadd(
        "test:events:runs", dict.fromkeys(("s", "p", "ph", "m", "r", "h"), "queued")
    ),
    "tokens are below": lambda r: r.hset("test:ledger", "token", "1"),
    "tokens are": lambda r: r.hset("test:env:runs", "token", r.hget("test:env:pinned", "token")),
    "a remembered miss": lambda r: r.rename(
        f"test:queue:9000:1024:1024:0:0:{ANY}", f"test:queue:2000:1024:1024:0:0:{ANY}"
    ),
    "no key is left over": lambda r: r.set("test:request", "x"),
    "no key is left": lambda r: r.rpush("test:wake:h1", "1", "1"),
}


@pytest.mark.parametrize("promise", BREAKS)
def test_what_is_broken_is_seen(populated: Ledger, promise: str) -> None:
    client = populated.redis
    BREAKS[promise](client)
    found = ledger_state.problems(ledger_state.snapshot(client, PREFIX, history=True))
    client.flushall()
    assert any(problem.startswith(promise) for problem in found), found
