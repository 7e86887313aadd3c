"""Templates over HTTP: one's own, those that are public, and, for admins, all."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from marshmallow import ValidationError, fields

from api import auditing, bodies, conditions, paging, wire
from api.auth import principal
from api.idempotency import idempotent
from api.openapi.contracts import CONTRACT_EXAMPLE
from api.openapi.described import IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, PAGED, described
from api.openapi.pieces import ref
from api.problems import Refused
from api.services import services
from common import contract
from common.contract import Contract
from common.errors import ContractError, NotFound
from common.fields import Strict, kind_of
from common.plain_fields import Truth, Word
from common.templates import NAME, Template

blueprint = Blueprint("templates", __name__)

LONGEST_TITLE = 80
LONGEST_DESCRIPTION = 500


class _Document(fields.Field[dict[str, Any]]):
    """A contract that may leave out anything."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError(f"must be an object, not {kind_of(value)}.")
        try:
            contract.parse(value)
        except ContractError as error:
            raise ValidationError(
                {problem.path or "_schema": [problem.message] for problem in error.problems}
            ) from None
        return value


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError("is not the name of a template: 1 to 63 of a-z, 0-9, '.', '_' and '-'")
    return text


class Content(Strict):
    """Body of `PUT /templates/{name}`."""

    DOCUMENT = "a template"

    title = Word("for people; by default the name", longest=LONGEST_TITLE, load_default="")
    description = Word("what it is for", longest=LONGEST_DESCRIPTION, load_default="")
    public = Truth("whether everyone may use it", load_default=False)
    contract = _Document(
        required=True, metadata={"description": "it may leave out anything", "schema": ref("Contract")}
    )


class NewTemplate(Content):
    """Body of `POST /templates`."""

    name = Word("1 to 63 of a-z, 0-9, '.', '_' and '-'", _name, required=True)


@blueprint.get("/templates")
@described("Templates", parameters=(*PAGED, IF_NONE_MATCH), headers=("ETag",), also={304: "it did not change"})
def templates() -> Response:
    """A page of those that the caller may use, by name."""
    most = paging.limit()
    found = services().templates.page(may_see, paging.after(NAME), most + 1)
    following = found[most - 1].name if len(found) > most else ""
    return conditions.answer({"templates": [wired(one) for one in found[:most]], "next": paging.cursor(following)})


@blueprint.post("/templates")
@idempotent()
@described(
    "Template",
    201,
    body=NewTemplate,
    parameters=(IDEMPOTENCY_KEY,),
    headers=("ETag", "Location"),
    refuses=(409,),
    example={"name": "vision", "title": "Vision", "contract": CONTRACT_EXAMPLE},
)
def create() -> Response:
    """Add a template."""
    wanted = bodies.load(NewTemplate)
    auditing.note(wanted["name"], public=wanted["public"])
    made = services().templates.create(_made(wanted["name"], principal().user, wanted))
    response = conditions.answer(wired(made), 201)
    response.headers["Location"] = f"{wire.ROOT}/templates/{made.name}"
    return response


@blueprint.get("/templates/<name>")
@described("Template", parameters=(IF_NONE_MATCH,), headers=("ETag",), also={304: "it did not change"})
def template(name: str) -> Response:
    """One template."""
    return conditions.answer(wired(usable(name)))


@blueprint.put("/templates/<name>")
@described("Template", body=Content, parameters=(IF_MATCH,), headers=("ETag",), refuses=(412,))
def change(name: str) -> Response:
    """Replace its content; with `If-Match` only the version that the caller has seen."""
    mine(name)
    wanted = bodies.load(Content)

    def changed(present: Template) -> Template:
        _require(present)
        made = _made(present.name, present.owner, wanted)
        return Template(**{**made.__dict__, "created_at": present.created_at})

    return conditions.answer(wired(services().templates.change(name, changed)))


@blueprint.delete("/templates/<name>")
@described(None, 204, parameters=(IF_MATCH,), refuses=(412,))
def delete(name: str) -> Response:
    """Delete it. Environments that were made of it stay as they are."""
    services().templates.delete(mine(name).name, _require)
    return Response(status=204)


def submitted() -> Contract:
    """The contract in the body, filled in from the template that it names. Raises ContractError, Refused."""
    return bodies.submitted_contract(lambda name: usable(name).contract)


def usable(name: str) -> Template:
    """The template, where the caller may use it. Raises NotFound: somebody else's private one does not exist."""
    found = services().templates.get(name)
    if not may_see(found):
        raise NotFound(f"There is no template {name[:63]}.")
    return found


def mine(name: str) -> Template:
    """The template, where the caller may change it. Raises NotFound, Refused."""
    found = usable(name)
    if not may_change(found):
        raise Refused(403, "Only its owner and admins may change this template. Save it under a name of your own.")
    return found


def may_change(found: Template) -> bool:
    """Whether the caller may change and delete it."""
    return found.owner == principal().user or principal().admin


def wired(found: Template) -> dict[str, Any]:
    """A template as JSON."""
    return {
        "name": found.name,
        "title": found.title,
        "description": found.description,
        "owner": found.owner,
        "public": found.public,
        "contract": found.contract,
        "created_at": wire.time(found.created_at),
        "updated_at": wire.time(found.updated_at),
        "links": {"self": f"{wire.ROOT}/templates/{found.name}"},
    }


def _require(present: Template) -> None:
    conditions.require(conditions.tag(wired(present)))


def _made(name: str, owner: str, wanted: dict[str, Any]) -> Template:
    return Template(name, wanted["title"] or name, wanted["description"], owner, wanted["public"], wanted["contract"])


def may_see(found: Template) -> bool:
    """Whether the caller may use it."""
    return found.public or found.owner == principal().user or principal().admin
