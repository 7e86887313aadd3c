"""The tier of the real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from api_fixtures import app, host, parts, served, server, settings, token_of
from playwright.sync_api import Browser, Page, sync_playwright

__all__ = ["app", "host", "parts", "served", "server", "settings", "token_of"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a new visitor. An error of its scripts, or a thing that the policy forbids, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = context.new_page()
    errors: list[str] = []
    found.on("pageerror", lambda error: errors.append(str(error)))
    found.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    yield found
    context.close()
    assert errors == []
