"""The terminal's screen: what programs write, and the rows that come of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

RUN = """async ([rows, cols, pieces]) => {
    const { Screen } = await import("/static/screen.js");
    const said = [];
    const screen = new Screen(rows, cols, (text) => said.push(text));
    for (const piece of pieces) {
        if (typeof piece === "string") screen.write(piece);
        else screen.resize(...piece);
    }
    const faces = screen.lines[0].map((cell) => cell.style);
    return { text: screen.text(), x: screen.x, y: screen.y, said, scrolled: screen.scrollback.length, faces };
}"""


@pytest.fixture(scope="module")
def blank(browser: Browser, served: Any) -> Iterator[Page]:
    """One page of the server, for all of these tests."""
    with browser.new_context() as context:
        found = context.new_page()
        found.goto(f"{served.url}/static/icon.svg")
        yield found


@pytest.fixture
def screen(blank: Page) -> Any:
    """What becomes of pieces of output on a screen of 4 rows and 10 columns."""
    return lambda *pieces: blank.evaluate(RUN, [4, 10, list(pieces)])


@pytest.mark.parametrize(
    ("written", "rows"),
    [
        (["one\r\ntwo"], ["one", "two", "", ""]),
        (["0123456789ab"], ["0123456789", "ab", "", ""]),
        (["1\r\n2\r\n3\r\n4\r\n5"], ["2", "3", "4", "5"]),
        (["abc\x1b[2", "Dx\x1b[K"], ["ax", "", "", ""]),
        (["abc\rX\b\x1b[@Y"], ["YXbc", "", "", ""]),
        (["abcdef\x1b[3G\x1b[2P"], ["abef", "", "", ""]),
        (["a\r\nb\x1b[H\x1b[J!"], ["!", "", "", ""]),
        (["main\x1b[?1049hother\x1b[?1049l!"], ["main!", "", "", ""]),
        (["1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[3;1H\nx"], ["1", "3", "x", "4"]),
        (["1\r\n2\r\n3\x1b[2;1H\x1b[Lnew"], ["1", "new", "2", "3"]),
        (["1\r\n2\r\n3\x1b[1;1H\x1b[M"], ["2", "3", "", ""]),
        (["\x1b]0;a title\x07ok\x1b]8;;no", "where\x1b\\!"], ["ok!", "", "", ""]),
        (["\x1b(Ba\x1b[>4;1mb\x1b[999zc"], ["abc", "", "", ""]),
        (["日本e\u0301"], ["日本e\u0301", "", "", ""]),
        (["<script>{{7*7}}"], ["<script>{{", "7*7}}", "", ""]),
        (["\x1b[9999;9999Hx"], ["", "", "", "         x"]),
        (["a\tb\x1b[2b"], ["a       b", "", "", ""]),
    ],
)
def test_rows_are_as_written(screen: Any, written: list[str], rows: list[str]) -> None:
    assert screen(*written)["text"] == rows


def test_it_answers_where_its_cursor_is_and_remembers_what_scrolled_away(screen: Any) -> None:
    found = screen("1\r\n2\r\n3\r\n4\r\n5\x1b[6n")
    assert (found["said"], found["scrolled"]) == (["\x1b[4;2R"], 1)


def test_colours_and_faces(screen: Any) -> None:
    faces = screen("\x1b[1;31ma\x1b[0;38;5;200mb\x1b[48;2;1;2;3mc\x1b[md")["faces"]
    assert (faces[0]["fg"], faces[0]["bold"]) == ("c1", True)
    assert (faces[1]["fg"], faces[1]["bold"]) == ("rgb(255 0 215)", False)
    assert faces[2]["bg"] == "rgb(1 2 3)"
    assert (faces[3]["fg"], faces[3]["bg"]) == ("", "")


def test_another_size_keeps_what_is_there(screen: Any) -> None:
    assert screen("1\r\n2\r\n3\r\n4", [2, 20])["text"] == ["3", "4"]
    assert screen("abc", [6, 5])["text"] == ["abc", "", "", "", "", ""]
