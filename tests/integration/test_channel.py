"""Both ends of a channel against a real Redis."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from common import channel, ids
from common.channel import ClientEnd, Input, Output, WorkerEnd
from common.errors import ChannelClosed, ChannelFull
from common.keys import Keys

KEYS = Keys("test")
ENV = ids.new_id()


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return Redis.from_url(redis_url)


def request(redis: Redis) -> bytes:
    """The next request on the control list of host h."""
    reply = redis.blpop([KEYS.control("h")], timeout=4)
    assert reply is not None
    text = reply[1]
    assert isinstance(text, bytes)
    return text


@pytest.fixture
def ends(redis: Redis) -> Iterator[tuple[ClientEnd, WorkerEnd]]:
    """Two ends of one open channel."""
    found: list[WorkerEnd] = []

    def work() -> None:
        end = WorkerEnd.of(redis, KEYS, request(redis))
        assert end is not None
        found.append(end)
        end.opened()

    worker = threading.Thread(target=work)
    worker.start()
    client = ClientEnd.open(redis, KEYS, "h", {"op": "exec", "env": ENV, "command": ["cat"]})
    worker.join()
    yield client, found[0]
    client.close()
    assert redis.keys() == []


def all_of(client: ClientEnd) -> list[Output]:
    """Everything until the last."""
    found = client.read()
    while not found[-1].last:
        found += client.read(found[-1].id)
    return found


def test_a_conversation(ends: tuple[ClientEnd, WorkerEnd]) -> None:
    client, worker = ends
    assert (worker.request["op"], worker.request["command"]) == ("exec", ["cat"])
    binary = bytes(range(256))
    client.say(Input("in", binary), 1)
    client.say(Input("resize", b"", 40, 132), 2)
    client.say(Input("in"), 3)
    assert worker.receive() == [Input("in", binary), Input("resize", b"", 40, 132), Input("in", b"")]
    assert worker.receive(0.01) == []
    worker.send(binary)
    worker.exit(137)
    assert [(o.kind, o.data, o.code) for o in all_of(client)] == [
        ("opened", b"", 0), ("out", binary, 0), ("exit", b"", 137),
    ]  # fmt: skip


def test_the_id_names_the_environment_and_cannot_be_guessed(ends: tuple[ClientEnd, WorkerEnd]) -> None:
    match = channel.ID.fullmatch(ends[0].channel)
    assert match
    assert match[1] == ENV
    assert len(ends[0].channel) - len(ENV) == 26  # times 5 bits


def test_another_process_takes_the_channel_up_where_it_was(ends: tuple[ClientEnd, WorkerEnd], redis: Redis) -> None:
    client, worker = ends
    worker.send(b"one")
    last = client.read()[-1]
    worker.send(b"two")
    worker.error("broken")
    again = ClientEnd(redis, KEYS, client.channel)
    assert [(o.kind, o.data) for o in again.read(last.id)] == [("out", b"two"), ("error", b"broken")]


def test_long_output_comes_whole_and_in_order_and_is_never_more_than_the_cap(
    ends: tuple[ClientEnd, WorkerEnd], redis: Redis
) -> None:
    client, worker = ends
    sent = b"".join(b"%07d " % n for n in range(500_000))  # 4 MB, twice what may wait
    most = []

    def work() -> None:
        worker.send(sent)
        worker.exit(0)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    most.append(redis.xlen(KEYS.channel_out(client.channel)))
    received = b"".join(o.data for o in all_of(client))
    thread.join()
    assert received == sent
    assert most[0] <= channel.MAX_WAITING


def test_input_that_nobody_reads_is_refused_and_goes_on_later(ends: tuple[ClientEnd, WorkerEnd]) -> None:
    client, worker = ends
    for number in range(1, channel.MAX_WAITING):  # the greeting is the first
        client.say(Input("in", b"x"), number)
    with pytest.raises(ChannelFull):
        client.say(Input("in", b"y"), 1000)
    assert len(worker.receive()) == channel.MAX_WAITING - 1
    client.say(Input("in", b"z"), 1000)
    assert worker.receive() == [Input("in", b"z")]


def test_what_is_sent_again_because_the_reply_was_lost_counts_once(ends: tuple[ClientEnd, WorkerEnd]) -> None:
    client, worker = ends
    for number in (1, 1, 2):
        client.say(Input("in", b"%d" % number), number)
    assert [said.data for said in worker.receive()] == [b"1", b"2"]
    client.say(Input("in", b"2"), 2)  # though it was read and is gone
    assert worker.receive(0.01) == []

    worker.send(b"a")
    worker._said -= 1  # as redis-py does when it sends the command again
    worker.send(b"a")
    worker.send(b"b")
    assert [output.data for output in client.read()] == [b"", b"a", b"b"]


def test_two_threads_of_a_worker_lose_nothing(ends: tuple[ClientEnd, WorkerEnd]) -> None:
    client, worker = ends
    threads = [threading.Thread(target=lambda: [worker.send(b"x") for _ in range(30)]) for _ in range(4)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(usual)
    assert len(client.read()) == 121


def test_no_worker_is_told_after_some_seconds_and_nothing_is_left(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "OPEN_SECONDS", 1)
    with pytest.raises(ChannelClosed, match="worker of host h does not answer"):
        ClientEnd.open(redis, KEYS, "h", {"op": "exec", "env": ENV})
    assert redis.keys("*channel*") == []
    stale = request(redis)
    monkeypatch.undo()
    time.sleep(1.1)
    assert WorkerEnd.of(redis, KEYS, stale) is None  # a worker that comes too late runs nothing


def test_a_worker_that_refuses(redis: Redis) -> None:
    def work() -> None:
        end = WorkerEnd.of(redis, KEYS, request(redis))
        assert end is not None
        end.error("it does not run")

    thread = threading.Thread(target=work)
    thread.start()
    with pytest.raises(ChannelClosed, match="it does not run"):
        ClientEnd.open(redis, KEYS, "h", {"op": "exec", "env": ENV})
    thread.join()
    assert redis.keys() == []


@pytest.mark.parametrize("text", [b"", b"x", b"[]", b"{}", b'{"before": "x"}', b'{"before": 99999999999}', b"\xff"])
def test_a_request_that_cannot_be_read_is_none(redis: Redis, text: bytes) -> None:
    assert WorkerEnd.of(redis, KEYS, text) is None


def test_a_client_that_hangs_up_is_noticed_by_the_worker(ends: tuple[ClientEnd, WorkerEnd], redis: Redis) -> None:
    client, worker = ends
    client.close()
    for act in (worker.receive, lambda: worker.send(b"x"), worker.opened):
        with pytest.raises(ChannelClosed):
            act()
    worker.exit(0)  # no error: there is nobody to tell
    assert redis.keys() == []


def test_a_client_that_died_frees_a_worker_that_waits_for_it(ends: tuple[ClientEnd, WorkerEnd], redis: Redis) -> None:
    client, worker = ends
    freed = threading.Event()

    def work() -> None:
        with pytest.raises(ChannelClosed):
            worker.send(b"x" * channel.CHUNK_BYTES * channel.MAX_WAITING * 2)
        freed.set()

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    redis.delete(KEYS.channel_in(client.channel))  # as it is when the client has been silent for a minute
    assert freed.wait(5)
    thread.join()


def test_a_worker_that_vanished_is_noticed_by_the_client(ends: tuple[ClientEnd, WorkerEnd], redis: Redis) -> None:
    client, _ = ends
    redis.delete(KEYS.channel_out(client.channel))  # as it is when the worker has not touched it for a minute
    with pytest.raises(ChannelClosed, match="has ended"):
        client.read()


def test_who_writes_to_a_channel_that_has_ended_is_told(redis: Redis) -> None:
    gone = ClientEnd(redis, KEYS, ENV + "0" * 26)
    for act in (gone.read, lambda: gone.say(Input("in", b"x"), 1)):
        with pytest.raises(ChannelClosed):
            act()
    gone.close()
    assert redis.keys() == []


def test_each_end_keeps_only_its_own_stream_alive(ends: tuple[ClientEnd, WorkerEnd], redis: Redis) -> None:
    client, worker = ends
    into, out = KEYS.channel_in(client.channel), KEYS.channel_out(client.channel)

    def age() -> None:
        redis.expire(into, 5)
        redis.expire(out, 5)

    age()
    client.read()
    assert (redis.ttl(into) > 5, redis.ttl(out) > 5) == (True, False)
    age()
    client.say(Input("in", b"x"), 1)
    assert (redis.ttl(into) > 5, redis.ttl(out) > 5) == (True, False)
    age()
    worker.receive()
    assert (redis.ttl(into) > 5, redis.ttl(out) > 5) == (False, True)
    age()
    worker.send(b"x")
    assert (redis.ttl(into) > 5, redis.ttl(out) > 5) == (False, True)
