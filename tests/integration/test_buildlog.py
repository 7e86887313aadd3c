"""The build log against a real Redis."""

from __future__ import annotations

import pytest
from redis import Redis

from common import buildlog, lines
from common.buildlog import BuildLog
from common.errors import ProvisionError
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


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("fetching https://ada:s3cret@pypi.lab/simple/numpy/", "fetching https://****@pypi.lab/simple/numpy/"),
        ("UV_INDEX=a=https://tok-123@pypi.lab/x,http://u:p@b/", "UV_INDEX=a=https://****@pypi.lab/x,http://****@b/"),
        ("proxy http://u:p@ss@10.0.0.1:3128", "proxy http://****@10.0.0.1:3128"),
        ("> Authorization: Basic YWRhOnMzY3JldA==", "> Authorization: ****"),
        ("see https://pypi.lab/@scope/x, mail a@b.org", "see https://pypi.lab/@scope/x, mail a@b.org"),
    ],
)
def test_passwords_of_indexes_and_proxies_are_in_no_log(log: BuildLog, line: str, kept: str) -> None:
    log.append("e", [line])
    assert [entry.text for entry in log.read("e")] == [kept]


def test_a_password_is_not_cut_so_that_it_shows(log: BuildLog) -> None:
    log.append("e", ["x" * (lines.MAX_CHARACTERS - 20) + " https://ada:s3cret" + "y" * 100 + "@pypi.lab/"])
    assert "s3cret" not in log.read("e")[0].text


def test_what_failed_on_a_host_is_told_without_passwords() -> None:
    failure = ProvisionError("internal", "No answer from https://u:p@pypi.lab/", "GET http://u:p@pypi.lab/x: 401")
    assert (str(failure), failure.detail) == (
        "No answer from https://****@pypi.lab/",
        "GET http://****@pypi.lab/x: 401",
    )
