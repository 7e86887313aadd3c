"""What is done with pages: signing in, looking at them in every width and colour, and asking axe-core about them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

SCREENSHOTS = Path(__file__).parents[2] / "var" / "screenshots"
Scheme = Literal["light", "dark"]
LOOKS: tuple[tuple[int, Scheme], ...] = ((1280, "light"), (1280, "dark"), (400, "light"), (400, "dark"))
SERIOUS = ("serious", "critical")


def sign_in(page: Page, url: str, token: str) -> None:
    """With a token, as far as one's environments."""
    page.goto(url)
    give_token(page, token)
    expect(page.get_by_role("heading", name="environments")).to_be_visible()


def give_token(page: Page, token: str) -> None:
    """Fill in and send the way in."""
    if not page.get_by_label("API token").is_visible():
        page.get_by_text("With a token instead").click()
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def photograph(page: Page, name: str, looks: Sequence[tuple[int, Scheme]] = LOOKS) -> None:
    """Look at a page in both widths and both colours: a picture of each, nothing too wide, axe content with it."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for width, scheme in looks:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than {width}"
        if width == 1280:
            assert_accessible(page)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})


def assert_accessible(page: Page) -> None:
    """axe-core finds nothing that is serious."""
    found = Axe().run(page).response["violations"]
    serious = [
        f"{v['id']}: {json.dumps([node['html'][:160] for node in v['nodes']])}"
        for v in found
        if v["impact"] in SERIOUS or os.environ.get("AXE_ALL")
    ]
    assert not serious, f"{page.url}: {serious}"
