"""Flower through the API: admins who are signed in see it, nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from flower_stack import WORKER, Stack, flowering
from playwright.sync_api import Page, expect
from seen import photograph, sign_in


@pytest.fixture
def stack(redis_url: str, tmp_path: Path) -> Iterator[Stack]:
    with flowering(redis_url, tmp_path) as found:
        yield found


def test_an_admin_sees_the_worker_and_its_tasks(
    visitor: Callable[..., Page], stack: Stack, token_of: Callable[..., str]
) -> None:
    admin = visitor()
    sign_in(admin, stack.server.url, token_of("root", "admin"))
    admin.get_by_role("link", name="Flower").click()
    photograph(admin, "flower")
    with admin.expect_popup() as opened:
        admin.get_by_role("link", name="Open Flower").click()
    opened.value.wait_for_load_state()
    flower, broken = admin.context.new_page(), list[str]()
    flower.on("console", lambda said: broken.append(said.text) if said.type == "error" else None)
    flower.on("pageerror", lambda error: broken.append(str(error)))
    flower.goto(opened.value.url)
    expect(flower.get_by_role("link", name=WORKER)).to_be_visible()
    expect(flower.locator("#workers-online")).to_have_text("1")
    flower.screenshot(path=Path("var/screenshots/flower-itself-1280-light.png"))
    flower.get_by_role("link", name=WORKER).click()
    expect(flower.get_by_role("tab", name="Pool")).to_be_visible(timeout=20_000)
    for tab in flower.get_by_role("tab").all():
        tab.click()
    flower.get_by_role("link", name="Tasks", exact=True).click()
    expect(flower.get_by_text("No tasks have been received")).to_be_visible()
    flower.get_by_role("link", name="Broker").click()
    expect(flower.get_by_text(f"host.{WORKER}").first).to_be_visible()
    assert broken == []
    names = [json.loads(line)["action"] for line in (stack.var / "log" / "audit.jsonl").read_text().splitlines()]
    assert {"pages.flower_page", "pages.flower_tasks"} <= set(names)
    assert "pages.flower_file" not in names
    assert names.count("pages.flower_tasks") == 1


def test_a_user_does_not(page: Page, stack: Stack, token_of: Callable[..., str]) -> None:
    sign_in(page, stack.server.url, token_of("ada"))
    for at in ("", "workers", "static/js/flower.js"):
        page.goto(f"{stack.server.url}/flower/{at}")
        expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
    assert page.evaluate("fetch('/flower/tasks/datatable', {method: 'POST', body: 'x'}).then(a => a.status)") == 403
    with httpx.Client(trust_env=False) as nobody:
        assert nobody.get(f"http://{stack.bind}/flower/workers").status_code == 401
