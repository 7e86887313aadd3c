"""One's webhooks on the pages: listed, added, deleted."""

from __future__ import annotations

from flask import Response, request, url_for

from api import bodies
from api.auth import principal
from api.pages.blueprint import blueprint, page, see
from api.pages.words import STATES
from api.services import services
from api.webhooks import routes


@blueprint.get("/webhooks")
def webhooks() -> Response:
    """Where one is told of steps, and how the last of it went."""
    return page("webhooks.html", hooks=services().webhooks.of(principal().user), states=STATES, usual=routes.USUAL)


@blueprint.post("/webhooks")
def add_webhook() -> Response:
    """A new one; this page is the only one that shows its secret."""
    bodies.instead({"url": request.form.get("url", "").strip(), "states": request.form.getlist("state")})
    return page("webhook.html", hook=routes.create().get_json())


@blueprint.get("/webhooks/<hook_id>/delete")
def ask_delete_webhook(hook_id: str) -> Response:
    """Whether it is really to go."""
    return page("webhook_delete.html", hook=routes.visible(hook_id))


@blueprint.post("/webhooks/<hook_id>/delete")
def delete_webhook(hook_id: str) -> Response:
    """Delete it; what is on its way to it is given up."""
    routes.delete(hook_id)
    return see(url_for("pages.webhooks"))
