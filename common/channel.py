"""A two-way stream of bytes between the API and the worker of a host, through Redis.

The API cannot reach a container; the worker beside it can. The client's end puts a request on the
host's control list and makes the stream `in`; the worker answers on the stream `out`, first with
"opened". Whoever lives touches its own stream, so either end sees within KEPT_SECONDS that the other
one died, and then nothing is left of the channel. Each writer numbers its entries, so what is sent again because
a reply was lost counts once. The clients decode nothing (decode_responses=False)
and their socket timeout is longer than BLOCK_SECONDS.

  control(host)     list    JSON requests, {"op", "env", "channel", "before", ...}
  channel_in(id)    stream  kind in (data; empty ends the input) | resize (rows, cols); read entries are deleted
  channel_out(id)   stream  kind opened | out (data) | exit (code) | error (data); read entries are deleted
"""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis, ResponseError

from common import ids
from common.errors import ChannelClosed, ChannelFull
from common.keys import Keys

KEPT_SECONDS = 60
OPEN_SECONDS = 8
BLOCK_SECONDS = 1.0
CHUNK_BYTES = 16 * 1024
MAX_WAITING = 128  # unread entries of one direction: at most 2 MiB
MAX_REQUESTS = 256  # unread requests of one host

# an environment's id, so that its owner is known by the channel's id alone, and 130 random bits
ID = re.compile(f"([{ids.ALPHABET}]{{15}})[{ids.ALPHABET}]{{26}}", re.ASCII)


@dataclass(frozen=True)
class Output:
    """One thing that the worker said. `id` resumes; `kind` is opened, out, exit or error."""

    id: str
    kind: str
    data: bytes = b""
    code: int = 0

    @property
    def last(self) -> bool:
        """Whether nothing follows."""
        return self.kind in ("exit", "error")


@dataclass(frozen=True)
class Input:
    """One thing that the client said: `kind` is in (no data: the input has ended) or resize."""

    kind: str
    data: bytes = b""
    rows: int = 0
    cols: int = 0


class ClientEnd:
    """The API's end. Any process of the API can take it up by the channel's id."""

    def __init__(self, redis: Redis, keys: Keys, channel: str):
        self._redis = redis
        self.channel = channel
        self._in = keys.channel_in(channel)
        self._out = keys.channel_out(channel)

    @classmethod
    def open(cls, redis: Redis, keys: Keys, host: str, request: dict[str, Any]) -> ClientEnd:
        """Ask the worker of `host` for what `request` says ("op", "env" and what the op takes); wait for it to begin.

        Raises ChannelClosed where no worker answers within OPEN_SECONDS or it refuses.
        """
        end = cls(redis, keys, request["env"] + ids.random_text(26))
        control = keys.control(host)
        seconds = redis.time()[0]
        body = json.dumps({**request, "channel": end.channel, "before": seconds + OPEN_SECONDS})
        with redis.pipeline() as pipe:
            pipe.xadd(end._in, {"kind": "hello"}, id="0-1")
            pipe.expire(end._in, KEPT_SECONDS)
            pipe.rpush(control, body)
            pipe.ltrim(control, -MAX_REQUESTS, -1)
            pipe.expire(control, KEPT_SECONDS)
            pipe.execute()
        until = time.monotonic() + OPEN_SECONDS
        while time.monotonic() < until:
            for output in end._read("0", BLOCK_SECONDS, count=1):
                if output.kind == "error":
                    end.close()
                    raise ChannelClosed(output.data.decode(errors="replace"))
                return end
        redis.delete(end._in, end._out)
        raise ChannelClosed(f"The worker of host {host} does not answer. Try again, or ask your operator.")

    def read(self, after: str = "0", timeout_seconds: float = BLOCK_SECONDS) -> list[Output]:
        """What the worker said after `after`, waiting at most `timeout_seconds` (and BLOCK_SECONDS) for the first.

        What lies before `after` is forgotten, which lets the worker go on. Raises ChannelClosed where there
        is no such channel any more.
        """
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.expire(self._in, KEPT_SECONDS)
            pipe.exists(self._out)
            if after != "0":
                pipe.xtrim(self._out, minid=_next(after), approximate=False)
            alive = pipe.execute()[1]
        if not alive:
            raise ChannelClosed("The connection to the environment has ended.")
        return self._read(after, min(timeout_seconds, BLOCK_SECONDS))

    def say(self, said: Input, number: int) -> None:
        """Tell the worker. `number` rises with each; one that was told before changes nothing.

        Raises ChannelFull, ChannelClosed.
        """
        if self._redis.xlen(self._in) >= MAX_WAITING:
            raise ChannelFull("The command does not read its input. Wait a moment and send it again.")
        fields: dict[Any, Any] = {"kind": said.kind, "data": said.data, "rows": said.rows, "cols": said.cols}
        if not _add(self._redis, self._in, number, fields):
            raise ChannelClosed("The connection to the environment has ended.")
        self._redis.expire(self._in, KEPT_SECONDS)

    def close(self) -> None:
        """Hang up; the worker ends what runs."""
        self._redis.delete(self._in, self._out)

    def _read(self, after: str, timeout_seconds: float, count: int = MAX_WAITING) -> list[Output]:
        block = max(1, int(timeout_seconds * 1000))
        reply = cast(list[Any], self._redis.xread({self._out: after}, count=count, block=block))
        entries = reply[0][1] if reply else []
        return [
            Output(entry.decode(), f[b"kind"].decode(), f.get(b"data", b""), int(f.get(b"code", 0)))
            for entry, f in entries
        ]


class WorkerEnd:
    """The worker's end of one channel. `request` is what the client asked for."""

    def __init__(self, redis: Redis, keys: Keys, request: dict[str, Any]):
        self._redis = redis
        self.request = request
        self._in = keys.channel_in(request["channel"])
        self._out = keys.channel_out(request["channel"])
        self._seen = "0"
        self._said = 0
        self._saying = threading.Lock()  # numbers must be written in their order

    @classmethod
    def of(cls, redis: Redis, keys: Keys, text: bytes | str) -> WorkerEnd | None:
        """The end for a request from the control list; None where its client no longer waits, or it cannot be read."""
        try:
            request = json.loads(text)
            too_late = redis.time()[0] > request["before"]
            return None if too_late else cls(redis, keys, request)
        except (ValueError, KeyError, TypeError):
            return None

    def opened(self) -> None:
        """Tell the client that it begins. Raises ChannelClosed where it has gone."""
        self._say({"kind": "opened"})

    def send(self, data: bytes) -> None:
        """Output for the client; waits while it has not read what came before. Raises ChannelClosed."""
        for start in range(0, len(data), CHUNK_BYTES):
            while self._redis.xlen(self._out) >= MAX_WAITING:
                self._check_client()
                time.sleep(0.05)
            self._say({"kind": "out", "data": data[start : start + CHUNK_BYTES]})

    def receive(self, timeout_seconds: float = BLOCK_SECONDS) -> list[Input]:
        """What the client said, [] after `timeout_seconds`. Call it at least every 30 s: it also tells the client
        that this end lives. Raises ChannelClosed where the client has gone."""
        self._check_client()
        self._redis.expire(self._out, KEPT_SECONDS)
        block = max(1, int(min(timeout_seconds, BLOCK_SECONDS) * 1000))
        reply = cast(list[Any], self._redis.xread({self._in: self._seen}, count=MAX_WAITING, block=block))
        entries = reply[0][1] if reply else []
        if not entries:
            return []
        self._seen = entries[-1][0].decode()
        self._redis.xdel(self._in, *(entry for entry, _ in entries))
        return [_input(fields) for _, fields in entries if fields[b"kind"] != b"hello"]

    def exit(self, code: int) -> None:
        """The command ended; nothing follows. A client that has gone is no error."""
        self._last({"kind": "exit", "code": code})

    def error(self, message: str) -> None:
        """It cannot be done, or broke; nothing follows. A client that has gone is no error."""
        self._last({"kind": "error", "data": message})

    def _last(self, fields: dict[str, str | int]) -> None:
        try:
            self._say(fields)
        except ChannelClosed:
            return

    def _say(self, fields: dict[Any, Any]) -> None:
        self._check_client()
        with self._saying:
            self._said += 1
            _add(self._redis, self._out, self._said, fields, make=True)
        self._redis.expire(self._out, KEPT_SECONDS)

    def _check_client(self) -> None:
        if not self._redis.exists(self._in):
            raise ChannelClosed("The client has gone.")


def _input(fields: dict[bytes, bytes]) -> Input:
    return Input(fields[b"kind"].decode(), fields[b"data"], int(fields[b"rows"]), int(fields[b"cols"]))


def _add(redis: Redis, stream: str, number: int, fields: dict[Any, Any], *, make: bool = False) -> bool:
    """Write the entry with this number once; False where there is no such stream and none is to be made."""
    try:
        return redis.xadd(stream, fields, id=f"{number}-0", nomkstream=not make) is not None
    except ResponseError as error:
        if "equal or smaller" not in str(error):
            raise
        return True  # it is there: the reply to the first try was lost


def _next(entry_id: str) -> str:
    stamp, _, number = entry_id.partition("-")
    return f"{stamp}-{int(number or 0) + 1}"
