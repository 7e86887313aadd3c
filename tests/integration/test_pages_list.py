"""The list of environments, whole: a page at a time, searched and filtered where they are kept."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote_plus

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.pages.environments import SHOWN
from api.services import Services
from common import contract
from common.inventory import Inventory
from common.listing import LOOKED_AT

Browser = Callable[..., FlaskClient]
SERIAL = {"ada": "000", "eve": "001"}  # ids of an owner sort by number


@pytest.fixture
def browser(app: Flask, token_of: Callable[..., str]) -> Browser:
    """One in which somebody has signed in."""

    def make(user: str, role: str = "user") -> FlaskClient:
        client = app.test_client()
        client.post("/sign-in", data={"token": token_of(user, role)})
        return client

    return make


def submit(parts: Services, count: int, owner: str = "ada", name: str = "lab") -> None:
    """`count` environments by the names lab-0, lab-1, …, the oldest first."""

    def one(number: int) -> None:
        wanted = contract.parse({"env-name": f"{name}-{number}", "resources": {"cpu": "1", "ram": "1GB"}})
        parts.ledger.submit(f"{SERIAL[owner]}{number:012d}", owner, wanted)

    one(0)  # the first in the queue too
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(1, count)))


def names(client: FlaskClient, path: str) -> tuple[list[str], dict[str, str]]:
    """Names on a page, and where its links to other pages of the list lead, by what they are called."""
    answer = client.get(path, follow_redirects=True)
    assert answer.status_code == 200
    links = re.findall(r'rel="(prev|next)" href="([^"]+)">([^<]+)<', answer.text)
    return re.findall(r'class="name"[^>]*><bdi>([^<]+)', answer.text), {
        **{rel: html.unescape(href) for rel, href, _ in links},
        **{f"{rel} words": words for rel, _, words in links},
    }


def test_all_of_them_are_reached_page_by_page_and_back(parts: Services, browser: Browser) -> None:
    submit(parts, 2 * SHOWN + 50)
    submit(parts, 1, "eve")
    page, newest = browser("ada"), [f"lab-{n}" for n in reversed(range(2 * SHOWN + 50))]
    first, links = names(page, "/")
    assert (first, links.keys()) == (newest[:SHOWN], {"next", "next words"})
    second, links = names(page, links["next"])
    assert second == newest[SHOWN : 2 * SHOWN]
    third, back = names(page, links["next"])
    assert (third, back.keys()) == (newest[2 * SHOWN :], {"prev", "prev words"})
    assert names(page, back["prev"])[0] == second
    assert names(page, links["prev"]) == names(page, "/")
    assert page.get("/?cursor=nonsense").status_code == 400


def test_what_is_looked_for_is_found_among_all_of_them(parts: Services, browser: Browser) -> None:
    submit(parts, SHOWN + 20)
    submit(parts, 3, "eve", "theirs")
    epoch = parts.ledger.register("gpu-7", "i", 40, Inventory(8000, 16_000, 100_000, machine="m"))
    job = parts.ledger.claim("gpu-7", epoch)  # the oldest
    assert job is not None
    page = browser("ada")
    for words in ("lab-0", "gpu-7", "preparing", job.id, "LAB PREP gpu"):
        assert names(page, f"/?q={quote_plus(words)}") == (["lab-0"], {}), words
    assert names(page, "/?show=moving&q=gpu-7")[0] == ["lab-0"]
    assert "None of them matches" in page.get("/?show=failed").text
    assert len(names(page, "/?q=waiting")[0]) == SHOWN
    found, links = names(page, names(page, "/?q=waiting")[1]["next"])
    assert (found, "q=waiting" in links["prev"]) == ([f"lab-{n}" for n in reversed(range(1, 20))], True)
    assert names(page, "/?q=theirs&of=everyone")[0] == []
    assert names(browser("root", "admin"), "/?q=eve&of=everyone")[0] == ["theirs-2", "theirs-1", "theirs-0"]


def test_one_look_goes_through_so_many_and_says_where_to_go_on(parts: Services, browser: Browser) -> None:
    submit(parts, LOOKED_AT + 10)
    page = browser("ada")
    found, links = names(page, "/?q=lab-0")
    assert (found, links["next words"]) == ([], "Look among older ones")
    said = page.get("/?q=lab-0").text
    assert f"None of these {LOOKED_AT} matches. There are older ones." in said
    assert 'data-seconds="4.0"' in said
    found, links = names(page, links["next"])
    assert (found, links.keys()) == (["lab-0"], {"prev", "prev words"})
    assert names(page, links["prev"]) == names(page, "/?q=lab-0")
