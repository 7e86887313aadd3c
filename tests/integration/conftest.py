"""The tier of the real Redis."""

from __future__ import annotations

from api_fixtures import ada, app, client_of, host, parts, served, server, settings, token_of

__all__ = ["ada", "app", "client_of", "host", "parts", "served", "server", "settings", "token_of"]
