"""The API as it is served in production, with an empty Flask application beside it in the same processes."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import api


def create() -> Flask:
    """The WSGI application: ours, and under `/empty` a view that does nothing."""
    empty = Flask("empty")
    empty.add_url_rule("/", "empty", lambda: {}, methods=["GET", "POST"])
    app = api.create_app()
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/empty": empty})  # type: ignore[method-assign]
    return app
