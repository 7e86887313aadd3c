"""The tier of the real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from api_fixtures import app, parts, served, server, settings, token_of
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from seen import sign_in
from simulated_host import SimulatedHost

__all__ = ["app", "parts", "served", "server", "settings", "token_of"]

expect.set_options(timeout=10_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A page of a new visitor. An error of its scripts, or a thing that the policy forbids, fails the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def make(**options: Any) -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        found = context.new_page()
        found.on("pageerror", lambda error: errors.append(str(error)))
        found.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
        return found

    yield make
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def host(redis_url: str) -> Iterator[SimulatedHost]:
    """A host by a name that a lab would give it: it is in pictures."""
    simulated = SimulatedHost(redis_url, name="gpu-1")
    simulated.start()
    yield simulated
    simulated.stop()


@pytest.fixture
def page(visitor: Callable[..., Page]) -> Page:
    """The page of one new visitor."""
    return visitor()


@pytest.fixture
def signed_in(page: Page, server: Any, token_of: Callable[..., str]) -> Page:
    """The page of ada, a user."""
    sign_in(page, server.url, token_of("ada"))
    return page
