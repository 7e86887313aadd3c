"""Webhooks over HTTP: one's own. The secret is shown once."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from api import auditing, bodies, conditions, paging, wire
from api.auth import principal
from api.idempotency import idempotent
from api.openapi.described import IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, PAGED, described
from api.services import services
from api.webhooks.addresses import networks, parsed
from common import ids
from common.errors import NotFound
from common.fields import Strict
from common.plain_fields import Choices, Word
from common.webhooks import STATES, Webhook

blueprint = Blueprint("webhooks", __name__)

USUAL = ("running", "stopped", "failed", "deleted")


def _url(text: str) -> str:
    parsed(text, networks(services().settings.webhook_allow))
    return text


class NewWebhook(Strict):
    """Body of `POST /webhooks`."""

    DOCUMENT = "a webhook"

    url = Word("where messages are posted to", _url, longest=2000, required=True)
    states = Choices("into which of an environment's states a step is told", STATES, load_default=USUAL)


@blueprint.get("/webhooks")
@described("Webhooks", parameters=(*PAGED, IF_NONE_MATCH), headers=("ETag",), also={304: "it did not change"})
def webhooks() -> Response:
    """A page of one's webhooks, oldest first."""
    found, following = paging.part(services().webhooks.of(principal().user), lambda hook: hook.id, ids.PATTERN)
    return conditions.answer({"webhooks": [wired(hook) for hook in found], "next": following})


@blueprint.post("/webhooks")
@idempotent(secret=True)
@described(
    "NewWebhookOnce",
    201,
    body=NewWebhook,
    parameters=(IDEMPOTENCY_KEY,),
    headers=("ETag", "Location"),
    refuses=(409,),
    example={"url": "https://example.org/dcloud", "states": ["running", "failed"]},
)
def create() -> Response:
    """Add a webhook. This answer is the only one with its secret."""
    wanted = bodies.load(NewWebhook)
    hook = services().webhooks.create(principal().user, wanted["url"], wanted["states"])
    auditing.note(hook.id)
    response = conditions.answer({**wired(hook), "secret": hook.secret}, 201)
    response.headers["Location"] = f"{wire.ROOT}/webhooks/{hook.id}"
    return response


@blueprint.get("/webhooks/<hook_id>")
@described("Webhook", parameters=(IF_NONE_MATCH,), headers=("ETag",), also={304: "it did not change"})
def webhook(hook_id: str) -> Response:
    """One webhook, with how its last delivery went."""
    return conditions.answer(wired(visible(hook_id)))


@blueprint.delete("/webhooks/<hook_id>")
@described(None, 204, parameters=(IF_MATCH,), refuses=(412,))
def delete(hook_id: str) -> Response:
    """Delete it; what is on its way to it is given up."""
    services().webhooks.delete(visible(hook_id), lambda hook: conditions.require(conditions.tag(wired(hook))))
    return Response(status=204)


def wired(hook: Webhook) -> dict[str, Any]:
    """A webhook as JSON, without its secret."""
    return {
        "id": hook.id,
        "owner": hook.owner,
        "url": hook.url,
        "states": list(hook.states),
        "created_at": wire.time(hook.created_at),
        "last": {"at": wire.time(hook.last_at), "status": hook.last_status, "error": hook.last_error}
        if hook.last_at
        else None,
        "failures": hook.failures,
        "links": {"self": f"{wire.ROOT}/webhooks/{hook.id}"},
    }


def visible(hook_id: str) -> Webhook:
    """The webhook, where it is the caller's or the caller is an admin. Raises NotFound."""
    if ids.PATTERN.fullmatch(hook_id):
        found = services().webhooks.get(hook_id)
        if found.owner == principal().user or principal().admin:
            return found
    raise NotFound(f"There is no webhook {hook_id[:15]}.")
