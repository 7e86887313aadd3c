"""Imports over HTTP: a file of another tool as a contract, to look at before it is submitted. Nothing is kept."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, request

from api.openapi.described import UPLOAD, described, parameter
from api.problems import Refused, not_read
from api.services import services
from common.imports import FORMATS, Runtime, convert, format_of
from common.imports.formats import MAX_LOCK_BYTES

blueprint = Blueprint("imports", __name__)

FRAME_BYTES = 16 * 1024  # what an upload adds to the file


def allow_locks() -> None:
    """Let the current request be as large as the largest file that is read here."""
    request.max_content_length = request.max_form_memory_size = MAX_LOCK_BYTES + FRAME_BYTES


@blueprint.post("/environments/import")
@described(
    "Import",
    body="Text",
    body_types=("text/plain", UPLOAD),
    parameters=(
        parameter("format", "what the file is; by default its name says it", type="string", enum=list(FORMATS)),
        parameter("filename", "its name, where the file is the body"),
    ),
    refuses=(415,),
)
def convert_file() -> Response:
    """What a requirements.txt, pyproject.toml, environment.yml, devcontainer.json or uv.lock means as a contract."""
    allow_locks()
    body, name = _file()
    kind = request.args.get("format") or format_of(name)
    if kind not in FORMATS:
        raise not_read(f"Say what this is by ?format= or by its name: {', '.join(FORMATS)}.", ("text/plain", UPLOAD))
    found = convert(body, kind, _runtimes())
    return jsonify(
        {"format": kind, "contract": found.contract, "left_out": [asdict(problem) for problem in found.left_out]}
    )


def _file() -> tuple[bytes, str]:
    if request.mimetype != UPLOAD:
        return request.get_data(cache=False), request.args.get("filename", "")
    files = list(request.files.values())
    if len(files) != 1:
        raise Refused(400, f"Upload one file; this form has {len(files)}.")
    return files[0].read(), request.args.get("filename") or files[0].filename or ""


def _runtimes() -> list[Runtime]:
    """The Pythons that live hosts have."""
    offers = {offer for host in services().ledger.hosts() if host.state != "lost" for offer in host.inventory.offers}
    return sorted(
        (
            Runtime(offer.os, offer.version, version)
            for offer in offers
            if offer.language == "python"
            for version in offer.language_versions
        ),
        key=lambda one: (one.os, one.os_version, one.python),
    )
