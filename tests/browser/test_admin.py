"""What admins see and do, and everyone's own account."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from seen import photograph, sign_in

from api.client import Client


@pytest.fixture
def admin(page: Page, server: Any, token_of: Callable[..., str]) -> Page:
    sign_in(page, server.url, token_of("root", "admin"))
    return page


def test_an_account_is_made_and_limited(admin: Page, server: Any, visitor: Callable[..., Page]) -> None:
    admin.get_by_role("link", name="People").click()
    admin.get_by_label("Name").fill("eve")
    admin.get_by_label("Password").fill("short")
    admin.get_by_role("button", name="Add").click()
    expect(admin.get_by_role("dialog")).to_contain_text("12")
    admin.keyboard.press("Escape")
    admin.get_by_label("Password").fill("a long enough one")
    admin.get_by_role("button", name="Add").click()
    admin.get_by_role("link", name="eve").click()
    admin.get_by_label("Environments at most").fill("0")
    admin.get_by_label("CPU, cores at most").fill("1.5")
    admin.get_by_role("button", name="Set limits").click()
    expect(admin.get_by_role("button", name="Those of everyone again")).to_be_visible()
    admin.reload()
    expect(admin.get_by_label("CPU, cores at most")).to_have_value("1.5")
    photograph(admin, "person")
    for press, then in (("Make an admin", "Make a user"), ("Make a user", "Make an admin"), ("Disable", "Enable")):
        admin.get_by_role("button", name=press).click()
        expect(admin.get_by_role("button", name=then)).to_be_visible()
    admin.get_by_role("button", name="Enable").click()
    expect(admin.get_by_role("button", name="Disable")).to_be_visible()
    admin.get_by_role("link", name="People").first.click()
    admin.get_by_label("GPUs at most").fill("2")
    admin.get_by_role("button", name="Set limits").click()
    expect(admin.get_by_role("button", name="No limits")).to_be_visible()
    photograph(admin, "people")
    admin.get_by_role("button", name="No limits").click()
    expect(admin.get_by_label("GPUs at most")).to_have_value("")

    eve = visitor()
    eve.goto(server.url)
    eve.get_by_label("Name").fill("eve")
    eve.get_by_label("Password").fill("a long enough one")
    eve.get_by_role("button", name="Sign in").click()
    eve.get_by_role("link", name="Account").click()
    expect(eve.get_by_role("row", name="CPU, cores 0 1.5")).to_be_visible()
    expect(eve.get_by_role("link", name="People")).to_have_count(0)
    for address in ("/people", "/queue", "/audit", "/flower", "/people/root"):
        eve.goto(f"{server.url}{address}")
        expect(eve.get_by_role("heading", name="Not allowed")).to_be_visible()


def test_a_token_is_shown_once_and_ends_when_it_is_revoked(admin: Page, server: Any) -> None:
    admin.get_by_role("link", name="Account").click()
    admin.get_by_label("What it is for").fill("<b>laptop</b>")
    admin.get_by_role("button", name="Make a token").click()
    text = admin.locator("#secret").inner_text()
    assert re.fullmatch(r"dc_u_\w+", text)
    with Client(server.url, text) as client:
        assert list(client.environments()) == []
    admin.get_by_role("link", name="I have it").click()
    expect(admin.get_by_text("<b>laptop</b>")).to_be_visible()
    photograph(admin, "account")
    admin.get_by_role("link", name="Replace <b>laptop</b>").click()
    expect(admin.get_by_role("dialog")).to_be_visible()
    photograph(admin, "token-replace", [(1280, "light"), (400, "dark")])
    admin.get_by_label("The old one still works").select_option("not at all")
    admin.get_by_role("button", name="Make the new one").click()
    expect(admin.get_by_text("works no more")).to_be_visible()
    photograph(admin, "token", [(1280, "light"), (400, "dark")])
    with Client(server.url, text) as client, pytest.raises(Exception, match="expired"):
        list(client.environments())
    text = admin.locator("#secret").inner_text()
    admin.get_by_role("link", name="I have it").click()
    row = admin.get_by_role("listitem").filter(has_not_text="expired").filter(has_text="<b>laptop</b>")
    row.get_by_role("button", name="Revoke <b>laptop</b>").click()
    expect(row).to_have_count(0)
    with Client(server.url, text) as client, pytest.raises(Exception, match="revoked"):
        list(client.environments())


def test_the_queue_says_who_waits_for_what_and_why(
    admin: Page, server: Any, host: Any, token_of: Callable[..., str]
) -> None:
    with Client(server.url, token_of("ada")) as ada:
        for name in ("first", "second"):
            ada.submit(f'{{"env-name": "{name}", "resources": {{"gpu": "1"}}}}'.encode())
    admin.get_by_role("link", name="Queue").click()
    row = admin.get_by_role("row").filter(has_text="second")
    expect(row).to_contain_text("ada")
    expect(row).to_contain_text("gpu-1 lacks 1 GPU")
    photograph(admin, "queue")


def test_a_host_takes_nothing_new_until_it_is_let_again(admin: Page, host: Any) -> None:
    admin.get_by_role("link", name="Hosts").click()
    admin.get_by_role("button", name="Let it take nothing new").click()
    expect(admin.get_by_text("Takes nothing new")).to_be_visible()
    admin.get_by_role("button", name="Let it take environments again").click()
    expect(admin.get_by_text("Ready", exact=True)).to_be_visible()


def test_what_was_done_is_in_the_audit_log(admin: Page, host: Any) -> None:
    admin.get_by_role("link", name="Hosts").click()
    admin.get_by_role("button", name="Let it take nothing new").click()
    expect(admin.get_by_text("Takes nothing new")).to_be_visible()
    admin.get_by_role("link", name="Audit").click()
    expect(admin.get_by_role("row").filter(has_text="pages.drain")).to_contain_text("root")
    photograph(admin, "audit")
    admin.get_by_label("User").fill("nobody-like-that")
    admin.get_by_role("button", name="Show").click()
    expect(admin.get_by_text("Nothing of that kind was done")).to_be_visible()


def test_flower_that_does_not_run_is_no_dead_end(admin: Page, server: Any) -> None:
    admin.get_by_role("link", name="Flower").click()
    expect(admin.get_by_role("status").filter(has_text="Flower does not answer")).to_be_visible()
    expect(admin.get_by_role("link", name="Look again")).to_be_visible()
    photograph(admin, "flower-away", [(1280, "light"), (400, "dark")])
    admin.goto(f"{server.url}/flower/workers")
    expect(admin.get_by_role("heading", name="Not available for a moment")).to_be_visible()
    expect(admin.get_by_text("make run")).to_be_visible()
