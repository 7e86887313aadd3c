"""The feed: one message wakes all who watch, and one of them reads for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from api.feed import Feed
from common.keys import Keys
from common.ledger import client_of

KEYS = Keys("test")


@pytest.fixture
def feed(redis_url: str) -> Iterator[Feed]:
    redis = client_of(redis_url)
    feed = Feed(redis, KEYS)
    yield feed
    feed.close()
    redis.connection_pool.disconnect()


class Watchers:
    """Threads that watch an environment and read with what is woken."""

    def __init__(self, feed: Feed, count: int):
        self.feed, self.reads, self.found = feed, 0, list[str]()
        self.ready = threading.Barrier(count + 1)
        with feed.watch("e") as wake:
            assert wake.wait(10), "the subscription is there"
        self.threads = [threading.Thread(target=self._watch) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _watch(self) -> None:
        with self.feed.watch("e") as wake:
            self.ready.wait(10)
            for _ in range(2):
                wake.wait(10)
                wake.clear()
                self.found.append(self.feed.shared("e", "0", self._read))
                self.ready.wait(10)

    def _read(self) -> str:
        self.reads += 1
        time.sleep(0.05)
        return f"read {self.reads}"


def test_those_who_are_woken_together_read_once_and_again_after_the_next_message(feed: Feed) -> None:
    watchers = Watchers(feed, 5)
    watchers.ready.wait(10)
    for number in (1, 2):
        feed._redis.publish(KEYS.feed(), '{"env": "e", "id": "1-1"}')
        watchers.ready.wait(10)
        assert watchers.found[-5:] == [f"read {number}"] * 5
    for thread in watchers.threads:
        thread.join(10)
    assert watchers.reads == 2


def test_what_has_another_last_event_or_could_not_be_read_is_read_by_itself(feed: Feed) -> None:
    def fail() -> str:
        raise TimeoutError

    with feed.watch("e") as wake:
        wake.wait(10)
        with pytest.raises(TimeoutError):
            feed.shared("e", "0", fail)
        assert feed.shared("e", "0", lambda: "first") == "first"
        assert feed.shared("e", "0", lambda: "again") == "first"
        assert feed.shared("e", "5", lambda: "later") == "later"


def test_what_happens_while_somebody_reads_is_read_again(feed: Feed) -> None:
    with feed.watch("e") as wake:
        wake.wait(10)

        def interrupted() -> str:
            feed._wake("e")
            return "old"

        assert feed.shared("e", "0", interrupted) == "old"
        assert feed.shared("e", "0", lambda: "new") == "new"
