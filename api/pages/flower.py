"""Flower, for admins: what it is, and how a browser gets to where it listens."""

from __future__ import annotations

from flask import Response, request

from api import auth
from api.pages.blueprint import blueprint, page
from api.services import services

EVERYWHERE = ("", "0.0.0.0", "[::]")  # noqa: S104 - compared with, not bound to
HERE = ("127.0.0.1", "localhost", "[::1]")


@blueprint.get("/flower")
@auth.admin
def flower() -> Response:
    """The way to it."""
    bind = services().settings.flower_bind
    name, _, port = bind.rpartition(":")
    asked = request.host if ":" not in request.host else request.host.rpartition(":")[0]
    address = f"http://{asked if name in EVERYWHERE else name}:{port}/"
    return page(
        "flower.html",
        bind=bind,
        port=port,
        address=address,
        server="MACHINE" if asked in HERE else asked,
        loopback=name in HERE,
    )
