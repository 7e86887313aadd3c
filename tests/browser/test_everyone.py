"""Everyone can use it: by keyboard, in any width, whatever was typed, while a server goes away and comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from api_fixtures import serving
from playwright.sync_api import Page, expect
from seen import photograph, sign_in

from api.client import Client
from common.inventory import Gpu, Inventory
from common.states import Phase, State
from common.templates import Template
from deploy.redis_server import free_port

HOSTILE = "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>{{7*7}}${7*7}\u202egnp.exe " + "w" * 900
FOCUSED = """() => {
    const e = document.activeElement;
    return [e.labels?.[0]?.textContent, e.ariaLabel, e.textContent.trim()].find(Boolean) || "";
}"""


def reach(page: Page, name: str, most: int = 60) -> None:
    """Press Tab until what is called `name` has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED).strip() == name:
            return
    pytest.fail(f"{name} cannot be reached by Tab on {page.url}")


def test_by_keyboard_alone(page: Page, server: Any, host: Any, token_of: Callable[..., str]) -> None:
    page.goto(server.url)
    expect(page.get_by_label("Name")).to_be_focused()
    reach(page, "With a token instead")
    page.keyboard.press("Enter")
    reach(page, "API token")
    page.keyboard.type(token_of("ada"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="My environments")).to_be_visible()
    reach(page, "New environment")
    page.keyboard.press("Enter")
    expect(page.locator(".chipbox")).to_be_visible()
    reach(page, "Name")
    page.keyboard.type("by-keyboard")
    reach(page, "Libraries")
    page.keyboard.type("numpy")
    page.keyboard.press("Enter")
    reach(page, "Submit")
    page.keyboard.press("Enter")
    expect(page.get_by_text("It runs on gpu-1.")).to_be_visible()
    reach(page, "Delete")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate(FOCUSED) == "Delete"
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Keep it")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("There is none yet")).to_be_visible()


def test_the_bar_is_where_it_should_be_after_the_api_was_away(
    page: Page, redis_url: str, host: Any, token_of: Callable[..., str], tmp_path: Path
) -> None:
    port = free_port()
    with serving(redis_url, port, tmp_path / "api.log") as server:
        with Client(server.url, token_of("ada")) as client:
            env_id = client.submit(b'{"env-name": "lab", "language": {"libraries": ["slow"]}}').id
        sign_in(page, server.url, token_of("ada"))
        page.goto(f"{server.url}/environments/{env_id}")
        expect(page.get_by_role("progressbar")).to_have_attribute("value", "60")
    expect(page.get_by_text("The server cannot be reached")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "60")
    host.go_on.set()
    with serving(redis_url, port, tmp_path / "api.log"):
        expect(page.get_by_text("It runs on gpu-1.")).to_be_visible(timeout=20_000)
        expect(page.get_by_role("progressbar")).to_have_attribute("value", "100")
        expect(page.get_by_text("The server cannot be reached")).to_be_hidden()


def test_the_log_of_a_container_goes_on_after_the_api_was_away(
    page: Page, redis_url: str, host: Any, token_of: Callable[..., str], tmp_path: Path
) -> None:
    port, said = free_port(), page.get_by_label("What the container writes")
    with serving(redis_url, port, tmp_path / "api.log") as server:
        with Client(server.url, token_of("ada")) as client:
            env_id = client.submit(b'{"env-name": "lab", "language": {"libraries": ["chatty"]}}').id
        sign_in(page, server.url, token_of("ada"))
        page.goto(f"{server.url}/environments/{env_id}")
        expect(page.get_by_text("It runs on gpu-1.")).to_be_visible()
        page.get_by_role("tab", name="Container").click()
        expect(said).to_have_text("hello from the container")
    expect(page.get_by_text("The connection was lost; trying again…")).to_be_visible()
    host.go_on.set()
    with serving(redis_url, port, tmp_path / "api.log"):
        expect(said).to_have_text("hello from the container\nmore from <b>it</b>", timeout=20_000)
        expect(page.get_by_text("The connection was lost; trying again…")).to_be_hidden()
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("Nothing more comes.")).to_be_visible()
        expect(said).to_have_text("hello from the container\nmore from <b>it</b>")


def test_whatever_was_written_is_text(signed_in: Page, server: Any, parts: Any, token_of: Callable[..., str]) -> None:
    page, ledger = signed_in, parts.ledger
    inventory = Inventory(8000, 16_000, 100_000, (Gpu("GPU-1", HOSTILE[8:50], 80_000),), driver="{{7*7}}", machine="m")
    epoch = ledger.register("evil", "i", 40, inventory)
    parts.templates.create(Template("t", HOSTILE[:60], HOSTILE, "ada", False, {}))
    with Client(server.url, token_of("ada")) as client:
        for name in ("a" * 63, "b" * 63):
            client.submit(json.dumps({"env-name": name, "language": {"libraries": ["x" * 100]}}).encode())
    failed = ledger.claim("evil", epoch)
    parts.build_log.append(failed.id, [HOSTILE, "\x1b[31mred", "second </pre><b>line"])
    ledger.release(
        "evil", epoch, failed.id, failed.token, State.FAILED, reason="libraries_not_installed", message=HOSTILE
    )
    building = ledger.claim("evil", epoch)
    ledger.advance("evil", epoch, building, State.BUILDING, progress=5, message=HOSTILE)
    ledger.progress("evil", epoch, building, Phase.LIBRARIES, 50, HOSTILE)
    paths = ["/", f"/environments/{failed.id}", f"/environments/{building.id}", "/hosts", "/new"]
    for number, path in enumerate(paths):
        page.goto(f"{server.url}{path}")
        expect(page.get_by_text("{{7*7}}").first).to_be_visible()
        photograph(page, f"hostile-{number}", [(1280, "light"), (400, "light")])
        assert page.title().endswith("DCloud")
        assert page.locator("main img, main script, main b").count() == 0


@pytest.mark.parametrize(("width", "height"), [(360, 640), (3840, 2160)])
def test_from_a_small_phone_to_a_wall(
    signed_in: Page, server: Any, host: Any, token_of: Callable[..., str], width: int, height: int
) -> None:
    page = signed_in
    page.set_viewport_size({"width": width, "height": height})
    with Client(server.url, token_of("ada")) as client:
        env_id = client.submit(b'{"env-name": "lab"}').id
    for path in ("/", "/new", f"/environments/{env_id}", "/hosts", "/account"):
        page.goto(f"{server.url}{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_dark_and_light_follow_the_system_until_one_is_chosen(page: Page, server: Any) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(server.url)
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    page.get_by_role("button", name="Dark or light").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    page.get_by_role("button", name="Dark or light").click()
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
