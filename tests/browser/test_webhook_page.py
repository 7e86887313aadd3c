"""Webhooks on their page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect
from seen import photograph, sign_in

from common.webhooks import Delivery


def test_a_webhook_is_added_watched_and_deleted(
    signed_in: Page, server: Any, parts: Any, visitor: Callable[..., Page], token_of: Callable[..., str]
) -> None:
    page = signed_in
    page.get_by_role("link", name="Webhooks").click()
    expect(page.get_by_text("There is none yet")).to_be_visible()
    photograph(page, "webhooks-none", [(1280, "light"), (400, "dark")])
    page.get_by_label("Address").fill("http://127.0.0.1:8000/")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("heading", name="It was refused")).to_be_visible()
    page.go_back()
    for address in ("https://example.org/dcloud", "https://example.org/other?a=<b>"):
        page.get_by_label("Address").fill(address)
        page.get_by_label("Waiting").check()
        page.get_by_role("button", name="Add it").click()
        expect(page.locator("#secret")).to_contain_text("whsec_")
        photograph(page, "webhook", [(1280, "light"), (400, "dark")])
        page.get_by_role("link", name="I have it").click()
    first, second = page.get_by_role("row").nth(1), page.get_by_role("row").nth(2)
    expect(first).to_contain_text("Waiting, Running, Stopped, Failed, Deleted")
    expect(second).to_contain_text("none yet")
    expect(page.get_by_text("whsec_")).to_have_count(0)
    one, other = parts.webhooks.of("ada")
    parts.webhooks.done(Delivery("d1", one.id, "{}"), one, 204)
    parts.webhooks.failed(Delivery("d2", other.id, "{}"), other, 500, "It answered 500.")
    expect(first).to_contain_text("Arrived")
    expect(first).to_contain_text("Answered 204")
    expect(second).to_contain_text("It answered 500.")
    photograph(page, "webhooks")

    eve = visitor()
    sign_in(eve, server.url, token_of("eve"))
    eve.get_by_role("link", name="Webhooks").click()
    expect(eve.get_by_text("There is none yet")).to_be_visible()

    first.get_by_role("link", name="Delete the webhook to https://example.org/dcloud").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("row").last).to_contain_text("https://example.org/other?a=<b>")
    assert [hook.id for hook in parts.webhooks.of("ada")] == [other.id]
