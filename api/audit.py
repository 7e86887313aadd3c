"""The audit log, for admins."""

from __future__ import annotations

import re
from dataclasses import asdict

from flask import Blueprint, Response, jsonify, request

from api import auth, paging
from api.openapi.described import PAGED, described, parameter
from api.services import services

blueprint = Blueprint("audit", __name__)

PLACE = re.compile(r"[0-9]{1,15}-[0-9]{1,10}", re.ASCII)


@blueprint.get("/audit")
@auth.admin
@described(
    "AuditEntries",
    parameters=(
        parameter("user", "only what this user did"),
        parameter("action", "only this, as in users.create"),
        *PAGED,
    ),
)
def audit() -> Response:
    """A page of it, newest first; `?user=` and `?action=` choose. A page may be short and still have a next."""
    entries, following = services().audit.page(
        paging.after(PLACE), paging.limit(), request.args.get("user", ""), request.args.get("action", "")
    )
    return jsonify({"entries": [asdict(entry) for entry in entries], "next": paging.cursor(following)})
