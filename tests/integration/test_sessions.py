"""A session ends with the Redis that carries it or after a long silence, and nothing of it stays behind."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, cast

import pytest
from own_redis import OwnRedis, own_redis

from common.channel import ClientEnd, Input, WorkerEnd
from common.ledger import Ledger
from common.settings import Settings
from workers.member import Member
from workers.sessions import Sessions, _Passed

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
