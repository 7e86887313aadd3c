"""A session ends with the Redis that carries it, and nothing of it stays behind."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest
from own_redis import OwnRedis, own_redis

from common.channel import WorkerEnd
from common.ledger import Ledger
from common.settings import Settings
from workers.member import Member
from workers.sessions import Sessions

__all__ = ["own_redis"]


class Command:
    """The command of a session, as far as its input goes."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_redis_that_goes_away_ends_the_command(own_redis: OwnRedis, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.from_env({"DCLOUD_REDIS_URL": own_redis.url})
    member = Member(settings, Ledger.connect(settings), cast(Any, None))
    sessions = Sessions(member)
    end = WorkerEnd(sessions._redis, member.ledger.keys, {"channel": "c1", "op": "exec", "env": "e1"})
    own_redis.kill()
    command = Command()
    sessions._carry_input(end, cast(Any, command))
    assert command.closed
    sessions._slots.acquire()
    sessions._serve(end)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
