"""More environments than one page of the list has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from playwright.sync_api import Page, expect
from seen import photograph

from api.pages.environments import SHOWN
from common import contract
from common.inventory import Inventory


def test_older_pages_are_reached_and_live_and_searched(signed_in: Page, parts: Any) -> None:
    def submit(number: int) -> None:
        wanted = contract.parse({"env-name": f"lab-{number}", "resources": {"cpu": "1", "ram": "1GB"}})
        parts.ledger.submit(f"000{number:012d}", "ada", wanted)

    submit(0)  # the first in the queue too
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(submit, range(1, SHOWN + 5)))
    page, rows = signed_in, signed_in.locator("tbody tr")
    page.reload()
    expect(rows).to_have_count(SHOWN)
    expect(rows.first).to_contain_text(f"lab-{SHOWN + 4}")
    page.get_by_role("link", name="Older ones").click()
    expect(rows).to_have_count(5)
    photograph(page, "environments-older", [(1280, "light"), (400, "dark")])
    epoch = parts.ledger.register("gpu-1", "i", 40, Inventory(8000, 16_000, 100_000, machine="m"))
    assert parts.ledger.claim("gpu-1", epoch) is not None
    expect(rows.last).to_contain_text("Preparing")  # without a reload
    expect(rows.last).to_contain_text("gpu-1")
    rows.first.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete it and its files").click()
    expect(rows).to_have_count(4)
    page.get_by_role("link", name="Newer ones").click()
    expect(rows).to_have_count(SHOWN)
    page.get_by_role("searchbox").fill("gpu-1")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("lab-0")
    expect(page.get_by_role("link", name="Newer ones")).to_have_count(0)
    page.get_by_role("searchbox").fill("lab")
    expect(rows).to_have_count(SHOWN)
    page.get_by_role("link", name="Older ones").click()
    expect(page.get_by_role("searchbox")).to_have_value("lab")
    expect(rows).to_have_count(4)
