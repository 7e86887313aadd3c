"""Hosts: capacity and health."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from api import wire
from api.auth import principal
from api.services import services

blueprint = Blueprint("hosts", __name__)


@blueprint.get("/hosts")
def hosts() -> Response:
    """Every host that ever registered."""
    return jsonify({"hosts": [wire.host(host, principal()) for host in services().ledger.hosts()]})
