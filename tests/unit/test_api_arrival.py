"""A body that comes late is refused; one that comes in time is read."""

from __future__ import annotations

import io

import gevent
import pytest

from api import arrival
from api.problems import Refused


class Slow:
    """A client that sends a byte in every 20 ms."""

    def read(self, size: int) -> bytes:
        gevent.sleep(0.02)
        return b"x"


def test_a_body_is_read_to_its_end() -> None:
    assert arrival.Arriving(io.BytesIO(b"{}"), 2).read() == b"{}"
    body = arrival.Arriving(io.BytesIO(b"abc"), 0)
    assert [body.read(2), body.read(2), body.read(2)] == [b"ab", b"c", b""]


def test_the_time_is_for_the_whole_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "BODY_SECONDS", 0.3)
    body = arrival.Arriving(Slow(), 0)
    assert body.read(1) == b"x"
    with pytest.raises(Refused) as refused:
        list(iter(lambda: body.read(1), b""))
    assert refused.value.status == 408
