"""The audit log, for admins."""

from __future__ import annotations

from flask import Response, request

from api import auth, paging
from api.audit import PLACE
from api.pages.blueprint import blueprint, page
from api.services import services

SHOWN = 100


@blueprint.get("/audit")
@auth.admin
def audit() -> Response:
    """A page of it, newest first."""
    user, action = (request.args.get(name, "").strip()[:100] for name in ("user", "action"))
    entries, following = services().audit.page(paging.after(PLACE), SHOWN, user, action)
    return page("audit.html", entries=entries, following=paging.cursor(following), user=user, action=action)
