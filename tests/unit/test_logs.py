"""Lines of the log: JSON that nobody can forge, with the ids of what they are about."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from common import logs


@pytest.fixture(autouse=True)
def nothing_from_before() -> None:
    """Tests that serve requests in this process leave what the last one was about."""
    logs.begin()


def line(message: str, *args: object, exc_info: Any = None) -> str:
    """What a message of some module becomes."""
    record = logging.LogRecord("workers.layers", logging.WARNING, __file__, 1, message, args, exc_info)
    return logs.formatter(people=False).format(record)


def test_a_line_says_when_who_and_what() -> None:
    found = json.loads(line("%s of %d", "3", 4))
    assert found.pop("at").endswith("Z")
    assert found == {"message": "3 of 4", "level": "warning", "logger": "workers.layers"}


def test_a_line_carries_what_the_work_is_about_and_the_next_does_not() -> None:
    with logs.about(environment="e1", request="r1"):
        found = json.loads(line("hello"))
    assert (found["environment"], found["request"]) == ("e1", "r1")
    assert json.loads(line("hello")).keys().isdisjoint({"environment", "request"})


def test_what_is_not_known_is_left_out() -> None:
    with logs.about(environment="e1", request=""):
        assert "request" not in json.loads(line("hello"))


def test_a_new_request_begins_with_nothing() -> None:
    logs.begin(request="r1", user="ann")
    logs.begin(request="r2")
    found = json.loads(line("hello"))
    assert (found["request"], "user" in found) == ("r2", False)
    logs.begin()


@pytest.mark.parametrize("text", ['a\n{"level": "critical"}', "a\rb", "a\u2028b", 'a"}', "a\x00b"])
def test_no_text_makes_a_second_line(text: str) -> None:
    written = line("name %s", text)
    assert len(written.splitlines()) == 1
    assert json.loads(written)["message"] == f"name {text}"


def test_a_traceback_is_inside_the_line() -> None:
    try:
        raise ValueError("no\nsense")
    except ValueError:
        written = line("broken", exc_info=sys.exc_info())
    assert len(written.splitlines()) == 1
    assert "ValueError: no\nsense" in json.loads(written)["exception"]
