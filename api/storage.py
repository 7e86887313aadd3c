"""More storage for an environment that is stopped; its files stay."""

from __future__ import annotations

from flask import Blueprint, Response

from api import auditing, bodies, conditions, wire
from api.environments import as_seen
from api.openapi.described import IF_MATCH, described
from api.services import services
from common import units
from common.contract import MIN_MIB
from common.fields import Strict
from common.plain_fields import Word

blueprint = Blueprint("storage", __name__)

MOST_MIB = 2**30


def _size(text: str) -> int:
    size = units.size_mib(text)
    if not MIN_MIB <= size <= MOST_MIB:
        raise ValueError("is out of range: between 16MiB and 1024TiB")
    return size


class MoreStorage(Strict):
    """Body of `PUT /environments/{id}/storage`."""

    DOCUMENT = "a request for storage"

    storage = Word("the size that it shall have, as in a contract", _size, required=True)


@blueprint.put("/environments/<env_id>/storage")
@described("Environment", body=MoreStorage, parameters=(IF_MATCH,), headers=("ETag",), refuses=(409, 412))
def grow(env_id: str) -> Response:
    """Give it more storage, of what its host has free, from its next start on."""
    seen = as_seen(env_id)
    wanted = bodies.load(MoreStorage)["storage"]
    auditing.note(env_id, storage_mib=wanted)
    grown = services().ledger.grow(env_id, wanted, seen)
    return conditions.answer(wire.environment(grown), etag=wire.etag(grown))
