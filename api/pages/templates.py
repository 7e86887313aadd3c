"""Templates of one's own, and for admins all: another title, public or not, deleted."""

from __future__ import annotations

from flask import Response, request, url_for

from api import bodies, named_contracts
from api.pages.blueprint import blueprint, page, see


@blueprint.get("/templates/<name>")
def template(name: str) -> Response:
    """What of it can be changed."""
    return page("template.html", t=named_contracts.mine(name))


@blueprint.post("/templates/<name>")
def change_template(name: str) -> Response:
    """Another title and description, public or not; what it asks for stays."""
    kept = named_contracts.usable(name).contract
    words = {field: request.form.get(field, "").strip() for field in ("title", "description")}
    bodies.instead({**words, "public": "public" in request.form, "contract": kept})
    named_contracts.change(name)
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
