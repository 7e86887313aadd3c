"""The first page in a real browser: sign in, submit, watch, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect


@pytest.fixture
def signed_in(page: Page, server: Any, token_of: Callable[..., str]) -> Page:
    page.goto(server.url)
    page.get_by_label("API token").fill(token_of("ada"))
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="New environment")).to_be_visible()
    return page


def test_a_wrong_token_is_told(page: Page, server: Any) -> None:
    page.goto(server.url)
    page.get_by_label("API token").fill("dc_u_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("mistyped, expired or revoked")


def test_from_the_form_to_running_to_gone(signed_in: Page, host: Any) -> None:
    page = signed_in
    expect(page.get_by_text("There is none yet")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("lab")
    page.get_by_label("Libraries, one a line").fill("slow\n\n numpy ")
    page.get_by_role("button", name="Submit").click()
    row = page.get_by_role("listitem").filter(has_text="lab")
    expect(row.get_by_role("progressbar")).to_have_attribute("value", "60")
    host.go_on.set()
    expect(row).to_contain_text("running")
    expect(row.get_by_role("progressbar")).to_have_attribute("value", "100")
    row.get_by_role("button", name="Stop").click()
    expect(row).to_contain_text("stopped")
    row.get_by_role("button", name="Start").click()
    expect(row).to_contain_text("running")
    page.on("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API token")).to_be_visible()


def test_what_is_refused_is_shown_with_its_path(signed_in: Page) -> None:
    page = signed_in
    page.get_by_label("RAM").fill("lots")
    page.get_by_label("Libraries, one a line").fill("<img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("resources.ram: 'lots' is not a size")
    expect(page.get_by_role("alert")).to_contain_text("<img src=x")  # as text
    expect(page.locator("img")).to_have_count(0)


def test_one_sees_ones_own_only(signed_in: Page, server: Any, token_of: Callable[..., str]) -> None:
    from api.client import Client

    with Client(server.url, token_of("eve")) as eve:
        eve.submit(b'{"env-name": "secret-of-eve"}')
    signed_in.reload()
    expect(signed_in.get_by_text("There is none yet")).to_be_visible()
    expect(signed_in.get_by_text("secret-of-eve")).to_have_count(0)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(signed_in: Page, host: Any, width: int) -> None:
    page = signed_in
    page.get_by_label("Name", exact=True).fill("n" * 63)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("listitem").filter(has_text="running")).to_be_visible()
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
