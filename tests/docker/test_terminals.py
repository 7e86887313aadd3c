"""What clients have open on a host: terminals that nobody uses any more, and logs from a moment on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from test_worker import Site, site

from common.channel import ClientEnd, Input, Output
from common.ledger import client_of
from common.states import State

__all__ = ["site"]


@contextmanager
def opened(site: Site, env_id: str, op: str, **what: Any) -> Iterator[ClientEnd]:
    with client_of(site.env["DCLOUD_REDIS_URL"], decode=False, timeout_seconds=10) as client:
        request = {"op": op, "env": env_id, "owner": "tester", **what}
        end = ClientEnd.open(client, site.ledger.keys, site.ledger.get(env_id).host, request)
        try:
            yield end
        finally:
            end.close()


def heard(end: ClientEnd) -> list[Output]:
    """All that the worker says, to its end."""
    said: list[Output] = []
    while not (said and said[-1].last):
        said += end.read(said[-1].id if said else "0")
    return said


def test_a_terminal_is_closed_when_nothing_passes_it_and_says_so(site: Site) -> None:
    site.env["DCLOUD_SESSION_IDLE_SECONDS"] = "4"
    site.work()
    env_id = site.submit()
    site.wait(env_id, State.RUNNING)
    writes = "for n in 1 2 3 4 5 6; do sleep 1; echo $n; done; cat"  # for longer than the limit, then it waits
    with opened(site, env_id, "exec", command=["sh", "-c", writes], tty=True, rows=24, cols=80) as end:
        end.say(Input("in", b"typed\n"), 1)
        *written, last = heard(end)
    text = b"".join(said.data for said in written)
    assert b"6" in text
    assert (last.kind, b"nothing was typed and nothing written" in last.data) == ("error", True)
    assert site.run(env_id, "sh", "-c", "sleep 6; echo done") == (0, "done\n"), "without a terminal it may be silent"


def test_a_log_goes_on_from_the_moment_of_a_line(site: Site) -> None:
    site.work()
    env_id = site.submit()
    site.wait(env_id, State.RUNNING)
    for word in ("one", "two", "three"):
        assert site.run(env_id, "sh", "-c", f"echo {word} > /proc/1/fd/1") == (0, "")

    def lines(**what: Any) -> list[str]:
        with opened(site, env_id, "logs", tail=1000, follow=False, **what) as end:
            return b"".join(said.data for said in heard(end)).decode().splitlines()

    assert lines() == ["one", "two", "three"]
    stamps, words = zip(*(line.split(" ", 1) for line in lines(timestamps=True)), strict=True)
    assert words == ("one", "two", "three")
    assert lines(since=stamps[0]) == ["two", "three"]
    assert [line.split(" ", 1)[1] for line in lines(since=stamps[1], timestamps=True)] == ["three"]
    assert lines(since=stamps[2]) == []
