"""The HTTP API, the pages and the command `dcloud`. Knows nothing of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from common.settings import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application; `settings` None reads them from the environment."""
    from api.app import build  # noqa: PLC0415 - the command starts without the web framework

    return build(settings)
