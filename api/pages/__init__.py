"""The pages: what people without a terminal use. HTML from the server, kept alive by a little script.

A page is whole without its script. With it, `static/live.js` fetches the same page again and puts in place
what changed, so that there is one template for what is seen first and for what is seen later.
"""

from __future__ import annotations

from flask import Flask
from flask_bootstrap import Bootstrap5

from api.pages import (
    assets,
    audit,
    environment,
    environments,
    failures,
    flower,
    hosts,
    limits,
    new,
    people,
    provider,
    queue,
    sessions,
    shell,
    templates,
    tokens,
    webhooks,
    words,
)
from api.pages.blueprint import blueprint

__all__ = [
    "audit", "environment", "environments", "flower", "hosts", "limits", "new", "people", "provider", "queue",
    "register", "sessions", "shell", "templates", "tokens", "webhooks",
]  # fmt: skip

# endpoint, name, for admins only
NAVIGATION = (
    ("pages.home", "Environments", False),
    ("pages.new", "New", False),
    ("pages.hosts", "Hosts", False),
    ("pages.queue", "Queue", True),
    ("pages.people", "People", True),
    ("pages.audit", "Audit", True),
    ("pages.flower", "Flower", True),
    ("pages.webhooks", "Webhooks", False),
    ("pages.account", "Account", False),
)


def register(app: Flask) -> None:
    """Put the pages, their assets and their errors into `app`."""
    app.config["BOOTSTRAP_SERVE_LOCAL"] = True
    Bootstrap5(app)
    assets.register(app)
    words.register(app)
    app.register_blueprint(blueprint)
    app.jinja_env.globals["nav"] = NAVIGATION
    app.jinja_env.globals["pages"] = frozenset(app.view_functions)
    failures.register(app)
