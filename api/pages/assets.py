"""Scripts and styles: an address changes with the content, so that a browser may keep what it has for ever."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from flask import Flask, Response, current_app, request, url_for

DAY_SECONDS = 86400
KEPT_SECONDS = 365 * DAY_SECONDS


def register(app: Flask) -> None:
    """Give templates `asset`, and what it names a long life."""
    app.jinja_env.globals["asset"] = asset
    app.after_request(_keep)


def asset(name: str) -> str:
    """The address of a file in `static/`."""
    return url_for("static", filename=name, v=_digest(str(current_app.static_folder), name))


@cache
def _digest(folder: str, name: str) -> str:
    return hashlib.sha256(Path(folder, name).read_bytes()).hexdigest()[:12]


def _keep(response: Response) -> Response:
    """Modules import each other by their plain names, so without a digest a browser asks whether it has the newest."""
    named = request.endpoint == "bootstrap.static" or (request.endpoint == "static" and "v" in request.args)
    if named and response.status_code == 200:
        response.cache_control.no_cache = None
        response.cache_control.public = True
        response.cache_control.max_age = KEPT_SECONDS if "v" in request.args else DAY_SECONDS
    return response
