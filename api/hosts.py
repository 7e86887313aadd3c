"""Hosts: capacity and health. Admins take one out of use, and forget one that is gone."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from api import auditing, auth, bodies, conditions, wire
from api.auth import principal
from api.openapi.described import IF_NONE_MATCH, described, flag
from api.services import services
from common.errors import NotFound
from common.inventory import Host
from common.settings import HOST_NAME

blueprint = Blueprint("hosts", __name__)


@blueprint.get("/hosts")
@described("Hosts")
def hosts() -> Response:
    """Every host that ever registered."""
    return jsonify({"hosts": [wire.host(host, principal()) for host in services().ledger.hosts()]})


@blueprint.get("/hosts/<name>")
@described("Host", parameters=(IF_NONE_MATCH,), headers=("ETag",), also={304: "it did not change"})
def host(name: str) -> Response:
    """One host."""
    return conditions.answer(wire.host(_found(name), principal()))


@blueprint.post("/hosts/<name>/drain")
@auth.admin
@described("Host", headers=("ETag",))
def drain(name: str) -> Response:
    """Let it take nothing new; what runs there goes on."""
    return _drained(name, True)


@blueprint.post("/hosts/<name>/undrain")
@auth.admin
@described("Host", headers=("ETag",))
def undrain(name: str) -> Response:
    """Let it take environments again."""
    return _drained(name, False)


@blueprint.delete("/hosts/<name>")
@auth.admin
@described(None, 204, parameters=(flag("force", "what it holds fails as lost with it"),), refuses=(409,))
def forget(name: str) -> Response:
    """Forget a lost host that holds nothing; with `?force=1` what it holds fails as lost with it."""
    auditing.note(force=bodies.flag("force"))
    services().ledger.forget(_found(name).name, force=bodies.flag("force"))
    return Response(status=204)


def _drained(name: str, draining: bool) -> Response:
    services().ledger.drain(_found(name).name, draining)
    return conditions.answer(wire.host(_found(name), principal()))


def _found(name: str) -> Host:
    """Raises NotFound."""
    if HOST_NAME.fullmatch(name):
        for found in services().ledger.hosts():
            if found.name == name:
                return found
    raise NotFound(f"There is no host {name[:63]}.")
