"""The build log against a real Redis."""

from __future__ import annotations

import pytest
from redis import Redis

from common import buildlog, lines
from common.buildlog import BuildLog
from common.keys import Keys
from common.lines import clean


@pytest.fixture
def log(redis_url: str) -> BuildLog:
    return BuildLog(Redis.from_url(redis_url, decode_responses=True), Keys("test"))


def test_lines_come_back_in_order_and_after_any_of_them(log: BuildLog) -> None:
    log.append("e", [f"line {n}" for n in range(10)])
    log.append("other", ["not mine"])
    first = log.read("e", limit=4)
    assert [line.text for line in first] == ["line 0", "line 1", "line 2", "line 3"]
    assert [line.text for line in log.read("e", after=first[-1].id)] == [f"line {n}" for n in range(4, 10)]
    assert log.read("e", after=log.read("e")[-1].id) == []
    assert log.read("nothing") == []


def test_nothing_is_written_for_no_lines(log: BuildLog, redis_url: str) -> None:
    log.append("e", [])
    assert Redis.from_url(redis_url).keys() == []


def test_a_flood_keeps_the_newest_lines(log: BuildLog) -> None:
    for start in range(0, 3 * buildlog.MAX_LINES, 1000):
        log.append("e", (f"{n}" for n in range(start, start + 1000)))
    kept = log.read("e", limit=10**6)
    assert buildlog.MAX_LINES <= len(kept) <= buildlog.MAX_LINES + 200
    assert kept[-1].text == f"{3 * buildlog.MAX_LINES - 1}"


def test_the_log_ends_by_itself_or_when_asked(log: BuildLog, redis_url: str) -> None:
    redis = Redis.from_url(redis_url)
    log.append("e", ["x"])
    assert 0 < redis.ttl(Keys("test").build_log("e")) <= buildlog.KEPT_SECONDS
    log.remove("e")
    assert log.read("e") == []


@pytest.mark.parametrize(
    ("line", "cleaned"),
    [
        ("plain\n", "plain"),
        ("tab\there", "tab\there"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07x", "red x"),
        (" 10%\r 50%\r100%", "100%"),
        ("a\nb", "a\N{REPLACEMENT CHARACTER}b"),
        ("a\0b\x1b", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"),
        ("\u202egnp.exe", "\N{REPLACEMENT CHARACTER}gnp.exe"),
        ("", ""),
    ],
)
def test_a_line_can_neither_forge_another_nor_drive_a_terminal(line: str, cleaned: str) -> None:
    assert clean(line) == cleaned


def test_what_is_kept_is_clean(log: BuildLog) -> None:
    log.append("e", ["\x1b[31mred\n", "x" * 10**5])
    assert [len(line.text) for line in log.read("e")] == [3, lines.MAX_CHARACTERS]


def test_a_long_line_is_cut() -> None:
    assert len(clean("x" * 10**6)) == lines.MAX_CHARACTERS
