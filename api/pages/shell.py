"""A shell in the browser, for the owner of an environment and for admins. It goes by the API's own channels."""

from __future__ import annotations

from flask import Response, url_for

from api.auth import owned
from api.pages.blueprint import blueprint, page, see
from common.states import State


@blueprint.get("/environments/<env_id>/shell")
def shell(env_id: str) -> Response:
    """The page of the shell; there is none where nothing runs."""
    found = owned(env_id)
    if found.state is not State.RUNNING:
        return see(url_for("pages.environment", env_id=found.id))
    return page("shell.html", e=found)
