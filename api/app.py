"""The application: its parts, in the order in which a request meets them."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from api import (
    audit,
    auditing,
    auth,
    bodies,
    catalog,
    channels,
    checks,
    conditions,
    environments,
    events,
    health,
    hosts,
    imports,
    index,
    locks,
    login,
    logs,
    metrics,
    named_contracts,
    pages,
    parameters,
    patience,
    problems,
    quotas,
    services,
    stats,
    storage,
    tokens,
    users,
)
from api.arrival import InTime
from api.glances import Glances
from api.openapi import routes as openapi
from api.webhooks import routes as webhooks
from common import documents, ids
from common import logs as said
from common.settings import Settings
from common.settings import settings as read_settings

MULTIPART_BYTES = 16 * 1024  # what a file upload may add to the document itself

_VERSION_1 = (
    index,
    environments,
    events,
    logs,
    stats,
    storage,
    locks,
    channels,
    hosts,
    catalog,
    checks,
    imports,
    named_contracts,
    users,
    tokens,
    quotas,
    login,
    audit,
    webhooks,
)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
]


class _Api(Flask):
    def ensure_sync(self, func: Any) -> Any:
        """`func`: none here is a coroutine, and to look whether it is one took a fiftieth of a request."""
        return func


def build(settings: Settings | None = None) -> Flask:
    """The WSGI application; `settings` None reads them from the environment."""
    app = _Api("api")
    app.config["MAX_CONTENT_LENGTH"] = documents.MAX_BYTES + MULTIPART_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = documents.MAX_BYTES + MULTIPART_BYTES
    app.config["MAX_FORM_PARTS"] = 16
    app.url_map.strict_slashes = False  # /environments/ is what /environments is
    app.json.sort_keys = False  # type: ignore[attr-defined]
    parts = app.extensions["dcloud"] = services.make(settings or read_settings())
    app.wsgi_app = InTime(_guarded(Glances(app.wsgi_app, parts)))  # type: ignore[method-assign]
    if hops := parts.settings.proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    app.before_request(_begin)
    auth.register(app)
    conditions.register(app)
    parameters.register(app)
    bodies.register(app)
    auditing.register(app)
    metrics.register(app)
    problems.register(app)
    for module in _VERSION_1:
        app.register_blueprint(module.blueprint, url_prefix="/api/v1")
    app.register_blueprint(health.blueprint)
    app.register_blueprint(metrics.blueprint)
    app.register_blueprint(openapi.blueprint)
    pages.register(app)
    app.after_request(_finish)
    return app


def _begin() -> None:
    g.request_id = ids.of_request(request.headers.get("X-Request-Id", ""))
    g.began = time.monotonic()
    said.begin(request=g.request_id)


def _finish(response: Response) -> Response:
    conditions.finish(response)
    headers = response.headers
    headers["X-Request-Id"] = g.get("request_id", "")
    headers.setdefault("Cache-Control", "no-store")
    return response


def _guarded(wsgi_app: Any) -> Any:
    """`wsgi_app`, with a patience of its own for each request and with what each of its answers tells browsers."""

    def answer(environ: Any, start_response: Any) -> Any:
        def begin(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            own = {name.lower() for name, _ in headers}  # a view may have a policy of its own
            return start_response(status, headers + [item for item in _HEADERS if item[0].lower() not in own], *error)

        with patience.of_one_request():
            return wsgi_app(environ, begin)

    return answer
