"""The queue, for admins: who waits for what, since when, and why."""

from __future__ import annotations

from flask import Response

from api import auth
from api.pages.blueprint import blueprint, page
from api.services import services
from common.states import State

SHOWN = 50


@blueprint.get("/queue")
@auth.admin
def queue() -> Response:
    """All that wait, the oldest first."""
    ledger = services().ledger
    found, following = ledger.environments(None, {State.QUEUED}, 500)
    oldest = found[::-1][:SHOWN]
    waiting = [(e, ledger.explain(e.id)) for e in oldest]
    return page("queue.html", waiting=waiting, count=len(found), more=bool(following) or len(found) > SHOWN)
