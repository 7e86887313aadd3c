"""Signing in, the list of environments, and the page of one, with a host that is simulated and a ledger that is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from seen import give_token, photograph, sign_in

from api.client import Client
from common.inventory import Gpu, Inventory
from common.stats import Use

Submit = Callable[..., str]


@pytest.fixture
def submit(server: Any, token_of: Callable[..., str]) -> Submit:
    """Submit a contract of ada, or of another user; its id."""

    def make(name: str, *libraries: str, user: str = "ada", **extra: Any) -> str:
        import json

        document = {"env-name": name, "language": {"libraries": list(libraries)}, **extra}
        with Client(server.url, token_of(user)) as client:
            return str(client.submit(json.dumps(document).encode())["id"])

    return make


def test_a_wrong_token_is_told(page: Page, server: Any) -> None:
    page.goto(server.url)
    photograph(page, "sign-in")
    give_token(page, "dc_u_wrong")
    expect(page.get_by_role("alert")).to_contain_text("mistyped, expired or revoked")


def test_a_password_opens_it_too(page: Page, server: Any, parts: Any) -> None:
    parts.accounts.create_user("ada")
    parts.accounts.set_password("ada", "correct horse battery")
    page.goto(server.url)
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("wrong horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("name or the password is wrong")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("correct horse battery")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="My environments")).to_be_visible()


def test_who_came_for_a_page_gets_there_after_signing_in(
    page: Page, server: Any, token_of: Any, submit: Submit
) -> None:
    env_id = submit("lab")
    page.goto(f"{server.url}/environments/{env_id}")
    expect(page.get_by_role("status").filter(has_text="sign in to go on")).to_be_visible()
    give_token(page, token_of("ada"))
    expect(page.get_by_role("heading", name="lab", exact=True)).to_be_visible()


def test_the_list_lives(signed_in: Page, host: Any, submit: Submit) -> None:
    page = signed_in
    expect(page.get_by_text("There is none yet")).to_be_visible()
    photograph(page, "environments-none")
    submit("lab", "slow")
    row = page.get_by_role("row").filter(has_text="lab")
    expect(row.get_by_role("progressbar")).to_have_attribute("value", "60")
    host.go_on.set()
    expect(row).to_contain_text("Running")
    row.get_by_role("button", name="Stop").click()
    expect(row).to_contain_text("Stopped")
    row.get_by_role("button", name="Start").click()
    expect(row).to_contain_text("Running")
    submit("other")
    submit("broken", "nosuchlib")
    expect(page.get_by_role("row").filter(has_text="broken")).to_contain_text("Failed")
    photograph(page, "environments")
    page.get_by_role("searchbox").fill("oth")
    expect(row).to_have_count(0)
    expect(page.get_by_role("row").filter(has_text="other")).to_be_visible()
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.get_by_text("None of them matches")).to_be_visible()
    page.get_by_role("link", name="Show all").click()
    page.get_by_text("Failed", exact=True).first.click()
    expect(row).to_have_count(0)
    page.get_by_text("All", exact=True).click()
    row.get_by_role("link", name="Delete lab").click()
    page.get_by_role("link", name="Keep it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    row.get_by_role("link", name="Delete lab").click()
    page.get_by_role("button", name="Delete it and its files").click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password")).to_be_visible()


def test_one_environment_from_waiting_to_running(
    signed_in: Page, host: Any, submit: Submit, server: Any, parts: Any
) -> None:
    page = signed_in
    env_id = submit("vision-lab", "slow", "numpy", "torch==2.13.0")
    page.goto(f"{server.url}/environments/{env_id}")
    bar = page.get_by_role("progressbar")
    expect(bar).to_have_attribute("value", "60")
    expect(page.locator(".steps [aria-current=step]")).to_contain_text("Libraries")
    expect(page.locator("#log")).to_contain_text("line 60")
    photograph(page, "environment-building")
    page.reload()
    expect(bar).to_have_attribute("value", "60")
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.get_by_role("progressbar")).to_have_attribute("value", "60")
    parts.stats.write({env_id: Use(730, 900_000_000, 2_000_000_000, 0, 0, 3, 0)})
    host.go_on.set()
    for each in (page, other):
        expect(each.get_by_text("It runs on gpu-1.")).to_be_visible()
        expect(each.get_by_role("progressbar")).to_have_attribute("value", "100")
    expect(page.get_by_role("img", name="CPU over the last hour, now 0.73 cores")).to_be_visible()
    photograph(page, "environment-running")
    passed = page.locator(".timeline li").first.locator("> :last-child")
    colours = [
        each.evaluate("node => getComputedStyle(node, '::before').backgroundColor")
        for each in (passed, page.locator(".timeline li.is-running > :last-child"))
    ]
    assert colours == ["rgb(85, 98, 111)", "rgb(23, 104, 58)"], "what has passed is calm"
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("its files are kept")).to_be_visible()
    page.get_by_text("More storage").click()
    page.get_by_label("Storage from the next start on").fill("1000")
    page.get_by_role("button", name="Give it").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_label("Storage from the next start on").fill("20")
    page.get_by_role("button", name="Give it").click()
    expect(page.get_by_text("It has 20 GiB now.")).to_be_visible()


def test_what_the_container_writes_is_followed_in_a_tab(
    signed_in: Page, host: Any, submit: Submit, server: Any
) -> None:
    page = signed_in
    page.goto(f"{server.url}/environments/{submit('lab', 'chatty')}")
    expect(page.get_by_text("It runs on gpu-1.")).to_be_visible()
    page.get_by_role("tab", name="Build").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Container", selected=True)).to_be_focused()
    said = page.get_by_label("What the container writes")
    expect(said).to_have_text("hello from the container")
    expect(page.locator("#log")).to_be_hidden()
    host.go_on.set()
    expect(said).to_have_text("hello from the container\nmore from <b>it</b>")
    photograph(page, "container-log", [(1280, "light"), (400, "dark")])
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("its files are kept")).to_be_visible()
    expect(page.get_by_text("Nothing more comes.")).to_be_visible()
    expect(said).to_contain_text("more from")  # the last words stay to be read
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("It runs on gpu-1.")).to_be_visible()
    expect(said).to_contain_text("hello from the container")
    page.get_by_role("tab", name="Build").click()
    expect(page.locator("#log")).to_be_visible()
    expect(said).to_be_hidden()


def test_each_step_is_shown_as_it_happens_and_without_the_stream_a_little_later(
    visitor: Callable[..., Page], host: Any, submit: Submit, server: Any, token_of: Any
) -> None:
    at_once, later = visitor(), visitor()
    env_id = submit("lab", "slow")
    for page in (at_once, later):
        sign_in(page, server.url, token_of("ada"))
    # one that never looks by itself, and one that hears nothing
    at_once.add_init_script(
        "const real = setTimeout; window.setTimeout = (call, ms, ...rest) => ms > 500 ? 0 : real(call, ms, ...rest)"
    )
    later.route("**/events?*", lambda route: route.abort())
    for page in (at_once, later):
        page.goto(f"{server.url}/environments/{env_id}")
        expect(page.get_by_role("progressbar")).to_have_attribute("value", "60")
    host.go_on.set()
    for page in (at_once, later):
        expect(page.get_by_text("It runs on gpu-1.")).to_be_visible()
        expect(page.get_by_role("progressbar")).to_have_attribute("value", "100")
    with at_once.expect_event("requestfailed", lambda request: "/events?" in request.url):
        at_once.evaluate(
            """() => {
                Object.defineProperty(document, "hidden", { value: true, configurable: true });
                document.dispatchEvent(new Event("visibilitychange"));
            }"""
        )
    with at_once.expect_request("**/events?after=*"):
        at_once.evaluate(
            """() => {
                Object.defineProperty(document, "hidden", { value: false });
                document.dispatchEvent(new Event("visibilitychange"));
            }"""
        )


def test_what_is_wrong_while_it_runs_is_told(
    signed_in: Page, host: Any, submit: Submit, server: Any, parts: Any
) -> None:
    env_id = submit("lab")
    page = signed_in
    page.goto(f"{server.url}/environments/{env_id}")
    expect(page.get_by_text("It runs on gpu-1.")).to_be_visible()
    host.warn(env_id, "storage_nearly_full", "Its storage is nearly full: 97 % are taken.")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("97 % are taken")
    expect(alert).to_contain_text("give it more storage")


def test_a_failure_says_why_and_what_to_try(signed_in: Page, host: Any, submit: Submit, server: Any) -> None:
    page = signed_in
    page.goto(f"{server.url}/environments/{submit('broken', 'nosuchlib')}")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("cannot be installed together")
    expect(alert).to_contain_text("nosuchlib was not found")
    expect(alert).to_contain_text("What to try")
    photograph(page, "environment-failed")


def test_one_sees_ones_own_only(signed_in: Page, server: Any, submit: Submit) -> None:
    env_id = submit("secret-of-eve", user="eve")
    signed_in.reload()
    expect(signed_in.get_by_text("There is none yet")).to_be_visible()
    signed_in.goto(f"{server.url}/environments/{env_id}")
    expect(signed_in.get_by_role("heading", name="Nothing is here")).to_be_visible()
    expect(signed_in.get_by_text("secret-of-eve")).to_have_count(0)
    photograph(signed_in, "failure")


def test_a_session_that_ended_leads_back(signed_in: Page, parts: Any, host: Any, submit: Submit, token_of: Any) -> None:
    page = signed_in
    submit("lab")
    expect(page.get_by_role("row").filter(has_text="Running")).to_be_visible()
    for token in parts.accounts.tokens("ada"):
        parts.accounts.revoke("ada", token.id)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_label("Password")).to_be_visible()
    give_token(page, token_of("ada"))
    expect(page.get_by_role("row").filter(has_text="Running")).to_be_visible()


def test_hosts_show_what_is_free_and_whose_the_rest_is(
    signed_in: Page, visitor: Any, host: Any, submit: Submit, server: Any, token_of: Any, parts: Any
) -> None:
    cards = tuple(Gpu(f"GPU-{n}", "NVIDIA H100", 81_559, healthy=n != 7) for n in range(8))
    inventory = Inventory(64_000, 512_000, 4_000_000, cards, "580.1", "13.0", "28.5", "m2")
    epoch = parts.ledger.register("gpu-2", "i", 40, inventory)
    for name, user, gpus in (("protein-folding", "ada", 2), ("tuning", "eve", 1), ("diffusion", "ada", 1)):
        wanted = {"gpu": f"H100:{gpus}", "cpu": f"{gpus * 8}", "ram": f"{gpus * 64}GiB", "storage": "400GB"}
        submit(name, user=user, resources=wanted)
        assert parts.ledger.claim("gpu-2", epoch)
    submit("sparse-nets", resources={"gpu": "H200:1", "cpu": "2"})
    submit("alignment", user="eve", resources={"gpu": "0", "cpu": "1", "ram": "2GB"})
    page = signed_in
    page.get_by_role("link", name="Hosts").click()
    expect(page.get_by_role("img", name="CPU: 5 of 8 free; sparse-nets: 2; another user: 1")).to_be_visible()
    expect(page.get_by_text("alignment")).to_have_count(0)
    expect(page.get_by_text("1 environment of another user")).to_have_count(2)
    expect(page.get_by_text("1 GPU out of order")).to_be_visible()
    photograph(page, "hosts")
    root = visitor()
    sign_in(root, server.url, token_of("root", "admin"))
    root.get_by_role("link", name="Hosts").click()
    expect(root.get_by_role("img", name="CPU: 5 of 8 free; sparse-nets of ada: 2; alignment of eve: 1")).to_be_visible()
