"""The list of environments, and what is done to one of them from anywhere."""

from __future__ import annotations

from flask import Response, request, url_for

from api import bodies, storage
from api.auth import owned, principal
from api.pages.blueprint import blueprint, page, see
from api.pages.words import MOVING
from api.services import services
from common.environment import Environment
from common.principal import Principal
from common.states import State

SHOWN = 200
SHOWN_STATES = frozenset(State) - {State.DELETED}
KINDS = {
    "all": ("All", SHOWN_STATES),
    "running": ("Running", frozenset({State.RUNNING})),
    "moving": ("In progress", MOVING),
    "stopped": ("Stopped", frozenset({State.STOPPED})),
    "failed": ("Failed", frozenset({State.FAILED})),
}


def listed(caller: Principal) -> Response:
    """The page of the list, as its address filters it."""
    kind = request.args.get("show", "all")
    kind = kind if kind in KINDS else "all"
    words = request.args.get("q", "").strip()[:100]
    everyone = caller.admin and request.args.get("of", "") == "everyone"
    found, following = services().ledger.environments(None if everyone else caller.user, SHOWN_STATES, SHOWN)
    counts = {name: sum(e.state in states for e in found) for name, (_, states) in KINDS.items()}
    shown = [e for e in found if e.state in KINDS[kind][1] and _matches(e, words)]
    return page(
        "environments.html", environments=shown, counts=counts, kinds=KINDS, kind=kind, words=words, any=bool(found),
        everyone=everyone, more=bool(following), seconds=1.5 if any(e.state in MOVING for e in found) else 3,
    )  # fmt: skip


@blueprint.post("/environments/<env_id>/stop")
def stop(env_id: str) -> Response:
    """End the container and keep the files."""
    services().ledger.stop(owned(env_id).id)
    return _back(env_id)


@blueprint.post("/environments/<env_id>/start")
def start(env_id: str) -> Response:
    """Start what was stopped."""
    services().ledger.start(owned(env_id).id)
    return _back(env_id)


@blueprint.post("/environments/<env_id>/storage")
def more_storage(env_id: str) -> Response:
    """Give what is stopped more storage."""
    bodies.instead({"storage": f"{request.form.get('storage', '').strip()}GiB"})
    storage.grow(env_id)
    return _back(env_id)


@blueprint.get("/environments/<env_id>/delete")
def ask_delete(env_id: str) -> Response:
    """Whether it and its files are really to go."""
    principal()
    return page("delete.html", environment=owned(env_id))


@blueprint.post("/environments/<env_id>/delete")
def delete(env_id: str) -> Response:
    """Remove it with its files."""
    services().ledger.delete(owned(env_id).id)
    return see(url_for("pages.home"))


def _back(env_id: str) -> Response:
    """To the page on which the button was."""
    on_list = request.form.get("from") == "list"
    return see(url_for("pages.home") if on_list else url_for("pages.environment", env_id=env_id))


def _matches(e: Environment, words: str) -> bool:
    text = f"{e.name} {e.id} {e.owner} {e.host}".lower()
    return all(word in text for word in words.lower().split())
