"""The list of environments, and what is done to one of them from anywhere."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from api import bodies, paging, storage
from api.auth import owned, principal
from api.pages.blueprint import blueprint, page, see
from api.pages.words import MOVING, STATES
from api.services import services
from common import ids
from common.listing import Listing, Page, Row, Wanted
from common.principal import Principal
from common.states import State

SHOWN = 200
ROWS_A_SECOND = (
    500  # that a page which keeps looking may cause to be read; one that is shown costs as much as SHOWN_COSTS
)
SHOWN_COSTS = 4
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
    listing = Listing(services().ledger, None if everyone else caller.user, _wanted(KINDS[kind][1], words))
    here: dict[str, Any] = {
        "show": kind if kind != "all" else None,
        "q": words or None,
        "of": "everyone" if everyone else None,
    }
    if since := paging.after(ids.PATTERN, "newer"):
        before = listing.newer(SHOWN, since)
        return see(url_for("pages.home", **here, cursor=paging.cursor(before)))
    before = paging.after(ids.PATTERN)
    found = listing.page(SHOWN, before)
    return page(
        "environments.html", found=found, kinds=KINDS, kind=kind, words=words, everyone=everyone, here=here,
        newer=paging.cursor(before), older=paging.cursor(found.older), seconds=_seconds(found),
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


def _wanted(states: frozenset[State], words: str) -> Wanted:
    """Of these states, and with each of the words in its name, id, owner, host or state."""
    each = words.lower().split()

    def matches(row: Row) -> bool:
        if row.state not in states:
            return False
        text = f"{row.name} {row.id} {row.owner} {row.host} {STATES[row.state]}".lower()
        return all(word in text for word in each)

    return matches


def _seconds(found: Page) -> float:
    """How often the page looks: the more there is to look through, the less often."""
    moving = any(e.state in MOVING for e in found.environments)
    rows = found.looked_at + len(found.environments) * SHOWN_COSTS
    return max(1.5 if moving else 3.0, round(rows / ROWS_A_SECOND, 1))
