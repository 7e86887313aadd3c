"""Scripts and styles: an address changes with the content, so that a browser may keep what it has for ever."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request, url_for

KEPT_SECONDS = 365 * 86400


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
    static: tuple[Any, ...] = ("static", "bootstrap.static")
    if request.endpoint in static and response.status_code == 200:
        response.cache_control.no_cache = None
        response.cache_control.public = True
        response.cache_control.max_age = KEPT_SECONDS if "v" in request.args else 86400
    return response
