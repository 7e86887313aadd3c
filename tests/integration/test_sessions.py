"""A session ends with the Redis that carries it or after a long silence, and nothing of it stays behind."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, cast

import pytest
from own_redis import OwnRedis, own_redis
from simulated_host import SimulatedHost

from common import contract, ids
from common.channel import ClientEnd, Input, WorkerEnd
from common.errors import ChannelClosed
from common.ledger import Ledger
from common.settings import Settings
from common.states import State
from workers.member import Member
from workers.sessions import MAX_OF_ONE, Sessions, _Passed

__all__ = ["own_redis"]


class Command:
    """The command of a session, as far as its input goes."""

    def __init__(self) -> None:
        self.closed = False
        self.given: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.given.append(data)

    def close(self) -> None:
        self.closed = True


def test_a_redis_that_goes_away_ends_the_command(own_redis: OwnRedis, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.from_env({"DCLOUD_REDIS_URL": own_redis.url})
    member = Member(settings, Ledger.connect(settings), cast(Any, None))
    sessions = Sessions(member)
    end = WorkerEnd(sessions._redis, member.ledger.keys, {"channel": "c1", "op": "exec", "env": "e1"})
    own_redis.kill()
    command = Command()
    sessions._carry_input(end, cast(Any, command), _Passed(0))
    assert command.closed
    sessions._slots.acquire()
    sessions._serve(end)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("limit_seconds", [2.0, 0.0])
def test_a_terminal_is_closed_when_nothing_passes_it_for_too_long(redis_url: str, limit_seconds: float) -> None:
    settings = Settings.from_env({"DCLOUD_REDIS_URL": redis_url})
    member = Member(settings, Ledger.connect(settings), cast(Any, None))
    sessions, keys, command = Sessions(member), member.ledger.keys, Command()
    sessions._redis.xadd(keys.channel_in("c1"), {"kind": "hello"}, id="0-1")
    worker = WorkerEnd(sessions._redis, keys, {"channel": "c1", "op": "exec", "env": "e1"})
    client, passed = ClientEnd(sessions._redis, keys, "c1"), _Passed(limit_seconds)
    carrying = threading.Thread(target=sessions._carry_input, args=(worker, command, passed))
    carrying.start()
    worker.opened()
    for number in range(1, 6):  # longer than the limit, all in all
        time.sleep(0.5)
        client.say(Input("in", b"x"), number)
    assert not command.closed
    if limit_seconds:
        carrying.join(10)
        assert "for 0.0333 min nothing was typed and nothing written" in passed.words
    else:
        carrying.join(3)
        assert not command.closed
        client.close()
        carrying.join(20)
    assert (command.closed, command.given) == (True, [b"x"] * 5)
    assert passed.too_long_ago() == bool(limit_seconds)
    sessions._redis.close()


@pytest.fixture
def simulated(redis_url: str) -> Iterator[SimulatedHost]:
    host = SimulatedHost(redis_url, name="sim")
    host.start()
    yield host
    host.stop()


def test_nobody_shuts_others_out_of_a_host(simulated: SimulatedHost, redis_url: str) -> None:
    simulated.become_deaf()  # who answers is ours
    settings = Settings.from_env({"DCLOUD_REDIS_URL": redis_url, "DCLOUD_HOST_NAME": "sim"})
    ledger = Ledger.connect(settings)
    env_id = ledger.submit(ids.new_id(), "ann", contract.parse({"resources": {"cpu": "0.1", "ram": "64MiB"}})).id
    deadline = time.monotonic() + 60
    while ledger.get(env_id).state is not State.RUNNING:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    sessions = Sessions(Member(settings, ledger, cast(Any, None)))
    with ExitStack() as opened:
        for _ in range(MAX_OF_ONE):
            opened.enter_context(sessions._one_of("ann"))
        thread = threading.Thread(target=_answer, args=(ledger, sessions))
        thread.start()
        request = {"op": "exec", "env": env_id, "command": ["cat"], "tty": False}
        with pytest.raises(ChannelClosed, match=f"{MAX_OF_ONE} open sessions"):
            ClientEnd.open(sessions._redis, ledger.keys, "sim", request)
        thread.join()
        with sessions._one_of("ben"):
            pass
    with sessions._one_of("ann"):
        pass
    ledger.redis.close()


def _answer(ledger: Ledger, sessions: Sessions) -> None:
    asked: Any = ledger.redis.blpop([ledger.keys.control("sim")], timeout=30)
    sessions.open(asked[1])
