"""All of it for real: form, bar, a shell in a container, stop, start, delete; failures, and a host that dies."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from seen import photograph, sign_in
from stack import Worker

from common.states import State

MAKING_MS = 120_000  # where the base image is not there yet it is made first


@pytest.fixture
def worker(server: Any, redis_url: str, tmp_path: Path) -> Iterator[Worker]:
    found = Worker(redis_url, tmp_path / "worker.log")
    yield found
    found.end()


def fill_in(page: Page, name: str, *libraries: str) -> None:
    page.get_by_role("link", name="New environment").click()
    expect(page.locator(".chipbox")).to_be_visible()
    page.get_by_label("Name", exact=True).fill(name)
    for library in libraries:
        page.get_by_label("Libraries").fill(library)
        page.get_by_label("Libraries").press("Enter")
    for field, value in (("cpu", "0.5"), ("ram", "0.25"), ("storage", "0.25")):
        page.locator(f"#{field}").fill(value)
    expect(page.locator("#outlook")).to_contain_text("Starts now on lab-", timeout=MAKING_MS)


def submit(page: Page, name: str, *libraries: str) -> None:
    fill_in(page, name, *libraries)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def say(page: Page, line: str) -> None:
    page.keyboard.type(line)
    page.keyboard.press("Enter")


def test_from_sign_in_to_a_shell_and_back(page: Page, server: Any, token_of: Any, worker: Worker) -> None:
    sign_in(page, server.url, token_of("ada"))
    expect(page.get_by_text("There is none yet")).to_be_visible()
    until_joined(page, server)
    submit(page, "numbers", "numpy")
    bar = page.get_by_role("progressbar")
    expect(page.get_by_text("It runs on lab-")).to_be_visible(timeout=MAKING_MS)
    expect(bar).to_have_attribute("value", "100")
    for step in ("Waiting", "Building", "Running"):
        expect(page.locator(".timeline")).to_contain_text(step)
    photograph(page, "environment-real", [(1280, "light"), (400, "dark")])

    page.get_by_role("link", name="Open a shell").click()
    shell = page.get_by_label("What the shell writes")
    expect(shell).to_contain_text("$")
    say(page, "python -c 'import numpy; print(sum(numpy.arange(7)), numpy.__name__)'")
    expect(shell).to_contain_text("21 numpy", timeout=30_000)
    say(page, "echo kept > ~/note && printf '\\033[1;32mgreen\\033[0m <b>{{7*7}}\\n'")
    expect(shell.locator(".fg-c2.bold").last).to_have_text("green")
    expect(shell).to_contain_text("<b>{{7*7}}")
    photograph(page, "shell")
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_label("Keys for the shell")).not_to_be_focused()
    page.get_by_label("Keys for the shell").focus()
    say(page, "exit 3")
    expect(page.get_by_text("The shell ended with 3.")).to_be_visible()

    page.get_by_role("link", name="numbers").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("its files are kept")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("It runs on lab-")).to_be_visible(timeout=30_000)
    page.get_by_role("link", name="Open a shell").click()
    expect(shell).to_contain_text("$")
    say(page, "cat ~/note")
    expect(shell).to_contain_text("kept")
    page.get_by_role("link", name="numbers").click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete it and its files").click()
    expect(page.get_by_text("There is none yet")).to_be_visible(timeout=30_000)


def test_failures_say_what_happened(page: Page, server: Any, token_of: Any, parts: Any, worker: Worker) -> None:
    sign_in(page, server.url, token_of("ada"))
    until_joined(page, server)
    submit(page, "wrong", "there-is-no-such-library-at-all")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("there-is-no-such-library-at-all", timeout=MAKING_MS)
    expect(alert).to_contain_text("What to try")

    page.goto(server.url)
    fill_in(page, "orphan", f"idna!=0.{secrets.randbelow(10**6)}")  # never asked for before, so it takes a moment
    page.get_by_role("button", name="Submit").click(no_wait_after=True)
    while not parts.ledger.environments("ada", {State.BUILDING})[0]:
        page.wait_for_timeout(10)
    worker.die()
    expect(page.locator(".steps .now")).to_be_visible()
    worker.start()
    expect(page.get_by_text("The worker on the host was restarted").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("It runs on lab-")).to_be_visible(timeout=MAKING_MS)


def until_joined(page: Page, server: Any) -> None:
    page.goto(f"{server.url}/hosts")
    expect(page.get_by_text("Ready", exact=True)).to_be_visible(timeout=60_000)
    page.goto(server.url)
