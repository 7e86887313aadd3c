"""Templates of one's own, and for admins all: another title, public or not, deleted."""

from __future__ import annotations

from flask import Response, request, url_for

from api import bodies, conditions, named_contracts
from api.pages.blueprint import blueprint, page, see
from api.problems import Refused
from common.templates import Template


@blueprint.get("/templates/<name>")
def template(name: str) -> Response:
    """What of it can be changed."""
    found = named_contracts.mine(name)
    return page("template.html", t=found, typed=found, version=_version(found), changed=False)


@blueprint.post("/templates/<name>")
def change_template(name: str) -> Response:
    """Another title and description, public or not; what it asks for stays, and what somebody else wrote meanwhile."""
    kept = named_contracts.usable(name).contract
    typed = {field: request.form.get(field, "").strip() for field in ("title", "description")}
    wanted = {**typed, "public": "public" in request.form, "contract": kept}
    bodies.instead(wanted)
    conditions.instead(request.form.get("version", ""))
    try:
        named_contracts.change(name)
    except Refused as error:
        if error.status != 412:
            raise
        found = named_contracts.mine(name)
        return page("template.html", 412, t=found, typed=wanted, version=_version(found), changed=True)
    return see(url_for("pages.new"))


@blueprint.get("/templates/<name>/delete")
def ask_delete_template(name: str) -> Response:
    """Whether it is really to go."""
    return page("template_delete.html", t=named_contracts.mine(name))


@blueprint.post("/templates/<name>/delete")
def delete_template(name: str) -> Response:
    """Delete it; what was made of it stays."""
    named_contracts.delete(name)
    return see(url_for("pages.new"))


def _version(found: Template) -> str:
    return conditions.tag(named_contracts.wired(found))
