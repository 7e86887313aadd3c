"""Hosts: capacity and health. Admins take one out of use, and forget one that is gone."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from api import auditing, auth, bodies, conditions, paging, wire
from api.auth import principal
from api.openapi.described import CURSOR, IF_MATCH, IF_NONE_MATCH, described, flag, parameter
from api.services import services
from common.errors import NotFound
from common.inventory import Host
from common.settings import HOST_NAME

blueprint = Blueprint("hosts", __name__)


@blueprint.get("/hosts")
@described(
    "Hosts",
    parameters=(parameter("limit", "how many at most", type="integer", minimum=1, maximum=100, default=100), CURSOR),
)
def hosts() -> Response:
    """A page of the hosts that ever registered, by name."""
    most = paging.limit(paging.PAGE_LIMIT)
    found = services().ledger.hosts(paging.after(HOST_NAME), most + 1)
    following = found[most - 1].name if len(found) > most else ""
    shown = [wire.host(host, principal()) for host in found[:most]]
    return jsonify({"hosts": shown, "next": paging.cursor(following)})


@blueprint.get("/hosts/<name>")
@described("Host", parameters=(IF_NONE_MATCH,), headers=("ETag",), also={304: "it did not change"})
def host(name: str) -> Response:
    """One host."""
    return _answer(_found(name))


@blueprint.post("/hosts/<name>/drain")
@auth.admin
@described("Host", parameters=(IF_MATCH,), headers=("ETag",), refuses=(412,))
def drain(name: str) -> Response:
    """Let it take nothing new; what runs there goes on."""
    return _drained(name, True)


@blueprint.post("/hosts/<name>/undrain")
@auth.admin
@described("Host", parameters=(IF_MATCH,), headers=("ETag",), refuses=(412,))
def undrain(name: str) -> Response:
    """Let it take environments again."""
    return _drained(name, False)


@blueprint.delete("/hosts/<name>")
@auth.admin
@described(None, 204, parameters=(flag("force", "what it holds fails as lost with it"), IF_MATCH), refuses=(409, 412))
def forget(name: str) -> Response:
    """Forget a lost host that holds nothing; with `?force=1` what it holds fails as lost with it."""
    auditing.note(force=bodies.flag("force"))
    services().ledger.forget(name, force=bodies.flag("force"), seen=_as_seen(name))
    return Response(status=204)


def _drained(name: str, draining: bool) -> Response:
    services().ledger.drain(name, draining, _as_seen(name))
    return _answer(_found(name))


def _as_seen(name: str) -> Host | None:
    """The version that the caller's If-Match names, None for any. Raises NotFound, Refused (412)."""
    found = _found(name)
    conditions.require(_etag(found))
    return found if conditions.named() else None


def _answer(found: Host) -> Response:
    return conditions.answer(wire.host(found, principal()), etag=_etag(found))


def _etag(found: Host) -> str:
    """Changes with all that is told of a host but its heartbeat, with which it would always be another."""
    return conditions.tag([found.version, principal().admin])


def _found(name: str) -> Host:
    """Raises NotFound."""
    if HOST_NAME.fullmatch(name):
        for found in services().ledger.hosts():
            if found.name == name:
                return found
    raise NotFound(f"There is no host {name[:63]}.")
