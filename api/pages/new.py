"""A new environment: the form, what would become of it, and its submission."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flask import Response, request, url_for

from api import bodies, catalog, environments, imports, named_contracts, wire
from api.auth import owned, principal
from api.pages.blueprint import blueprint, page, see
from api.pages.form import ANY_GPU, LIFETIMES, Faults, Fields
from api.pages.libraries import KNOWN
from api.pages.outlook import outlook
from api.pages.together import NOT_YET, Together, together
from api.problems import Refused
from api.services import services
from common import contract, ids
from common.contract import Contract
from common.errors import Conflict, ContractError, Taken
from common.imports import FORMATS, format_of

MOST_TEMPLATES = 24
UNREADABLE = 415
NO_FORMAT = f"That file is none that is read here: a contract in JSON, YAML or TOML, or {', '.join(FORMATS)}."
SENT_ALREADY = "This form was sent once already, with other values (in another tab?). Submit again to make one more."


@blueprint.url_value_preprocessor
def _allow_locks(endpoint: str | None, values: dict[str, Any] | None) -> None:
    """An uploaded file may be as large as an import; said before the form is read, which is to see who sends it."""
    if endpoint == "pages.fill":
        imports.allow_locks()


@blueprint.get("/new")
def new() -> Response:
    """An empty form, or with the values of an environment that there is (`again`)."""
    if not ids.PATTERN.fullmatch(request.args.get("key", "")):
        # a reload or a copy of the tab has the same key, and with it makes the same environment
        again, template = (request.args.get(name) or None for name in ("again", "template"))
        return see(url_for("pages.new", again=again, template=template, key=ids.new_id()))
    values = Fields().within(_offered()["largest"]["ever"])
    if again := request.args.get("again", ""):
        values = Fields.of(owned(again).contract)
    elif name := request.args.get("template", ""):
        values = Fields.of(contract.parse(named_contracts.usable(name).contract))
    return _form(values, request.args["key"])


@blueprint.post("/new")
def submit() -> Response:
    """Make it; the key of the form makes it once."""
    values, key = Fields.sent(request.form), _key()
    try:
        found = environments.accept(contract.parse(values.document()), f"form-{key}" if key else "")
    except ContractError as error:
        return _form(values, key, Faults.of(error.problems), 422)
    except Conflict:
        return _form(values, ids.new_id(), Faults({"": [SENT_ALREADY]}), 422)
    return see(url_for("pages.environment", env_id=found.id))


@blueprint.post("/new/check")
def check() -> Response:
    """The same form, with what would become of it."""
    return _form(Fields.sent(request.form), _key())


@blueprint.post("/new/libraries")
def ask_libraries() -> Response:
    """The same form, with whether its libraries go together."""
    values = Fields.sent(request.form)
    wanted, _ = _parsed(values)
    return _form(values, _key(), answer=together(wanted) if wanted else NOT_YET)


@blueprint.post("/new/save")
def save() -> Response:
    """Keep the form as a template of one's own."""
    values, name = Fields.sent(request.form), request.form.get("template", "").strip()
    bodies.instead({"name": name, "contract": values.document()})
    try:
        named_contracts.create()
    except ContractError as error:
        shown = [replace(p, path=p.path.removeprefix("contract.")) for p in error.problems]
        return _form(values, _key(), Faults.of(shown), 422)
    except Taken as error:
        return _form(values, _key(), Faults({"": [str(error)]}), 422)
    return see(url_for("pages.new", template=name))


@blueprint.post("/new/fill")
def fill() -> Response:
    """The form with the values of an uploaded contract, or of a file of another tool."""
    notes: list[str] = []
    try:
        if _is_of_another_tool():
            found = imports.convert_file().get_json()
            wanted = contract.parse(found["contract"])
            notes = [f"Left out: {left['path']} {left['message']}" for left in found["left_out"]]
        else:
            wanted = named_contracts.submitted()
        values, faults = Fields.of(wanted), Faults()
    except ContractError as error:
        values, faults = Fields(), Faults({"": [f"{p.path}: {p.message}".lstrip(": ") for p in error.problems]})
    except Refused as error:
        if error.status != UNREADABLE:
            raise
        return _form(Fields(), ids.new_id(), Faults({"": [NO_FORMAT]}), UNREADABLE)
    return _form(values, ids.new_id(), faults, notes=notes)


def _key() -> str:
    """The key of the form that was sent. Raises Refused where it is none of ours."""
    key = request.form.get("key", "")
    if key and not ids.PATTERN.fullmatch(key):
        raise Refused(400, "The key of this form is none that a form was given here. Open the form anew.")
    return key


def _is_of_another_tool() -> bool:
    file = request.files.get("file")
    kind = format_of(file.filename or "") if file else None
    if file is None or kind != "environment.yml":
        return bool(kind)
    head = file.stream.read()
    file.stream.seek(0)
    return b"\ndependencies:" in b"\n" + head  # else it is a contract in YAML


def _form(
    values: Fields, key: str, faults: Faults | None = None, status: int = 200, notes: Sequence[str] = (),
    answer: Together | None = None,
) -> Response:  # fmt: skip
    offered = _offered()
    wanted, found = _parsed(values)
    return page(
        "new.html", status, values=values, key=key, faults=faults or Faults(), found=found, offered=offered,
        notes=notes, together=answer,
        systems=_systems(offered, values), pythons=_pythons(offered, values), gpus=_gpus(offered, values),
        lifetimes={**LIFETIMES, values.lifetime: LIFETIMES.get(values.lifetime, values.lifetime)},
        priorities=range(10 if principal().admin else environments.USER_PRIORITY + 1), known=KNOWN,
        templates=services().templates.page(named_contracts.may_see, "", MOST_TEMPLATES),
        outlook=outlook(principal().user, wanted) if wanted else None,
        contract=json.dumps(wire.document(wanted) if wanted else values.document(), indent=2, ensure_ascii=False),
    )  # fmt: skip


def _parsed(values: Fields) -> tuple[Contract | None, Faults]:
    try:
        return contract.parse(values.document()), Faults()
    except ContractError as error:
        return None, Faults.of(error.problems)


def _offered() -> dict[str, Any]:
    return catalog.offered(services().ledger.hosts())


def _systems(offered: dict[str, Any], values: Fields) -> dict[str, str]:
    """What can be chosen, and what was."""
    found = {f"{s['image-name']} {s['version']}": s["title"] for s in offered["systems"]}
    return found if values.system in found else {**found, values.system: f"{values.system} (no host has it now)"}


def _pythons(offered: dict[str, Any], values: Fields) -> dict[str, list[str]]:
    """Versions, each with the systems that have it."""
    found: dict[str, list[str]] = {}
    for system in offered["systems"]:
        for language in system["languages"]:
            for version in language["versions"]:
                found.setdefault(version, []).append(f"{system['image-name']} {system['version']}")
    return found if values.python in found else {**found, values.python: []}


def _gpus(offered: dict[str, Any], values: Fields) -> dict[str, str]:
    found = {"": "No GPU"}
    if offered["gpus"] or values.gpu:
        found[ANY_GPU] = "Any GPU"
    for row in offered["gpus"]:
        title = row["model"].replace("NVIDIA ", "")
        found[row["request"]] = f"{title}, {row['memory_mib'] / 1024:.0f} GiB: {row['free']} of {row['total']} free"
    return found if values.gpu in found else {**found, values.gpu: values.gpu}
