"""The lock of an environment: its libraries with versions and hashes, to be submitted again."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth import owned
from api.openapi.described import described
from api.problems import Refused
from api.services import services
from common.locks import Locks

blueprint = Blueprint("locks", __name__)


@blueprint.get("/environments/<env_id>/lock")
@described("Text", answer_types=("text/plain",), refuses=(409,))
def lock(env_id: str) -> Response:
    """The lock as text; as `language.lock` of a contract it makes the same layer again."""
    found, parts = owned(env_id), services()
    text = Locks(parts.ledger.redis, parts.keys).get(found.id)
    if text is None:
        raise Refused(409, "Its libraries are not resolved yet, so there is no lock. Ask again when it runs.")
    return Response(text, mimetype="text/plain")
