"""`dcloud submit`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from api.cli import output
from api.cli.connection import connect
from api.cli.contracts import MEDIA_TYPES, format_option, read
from api.cli.watch import watch
from common import documents
from common.errors import DCloudError


@click.command()
@click.argument("file", metavar="FILE|-", required=False)
@format_option
@click.option("--watch", "-w", "watching", is_flag=True, help="Show the progress until it runs (0) or failed (1).")
@click.option("--name", help="Use this name instead of the contract's.")
@click.option("--template", help="Fill in the rest from this template; then FILE may be left out.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value: resources.gpu=1")
@output.as_json
def submit(
    file: str | None,
    watching: bool,
    name: str | None,
    template: str | None,
    settings: tuple[str, ...],
    format_: str | None,
    json_: bool,
) -> None:
    """Submit the contract in FILE (JSON, YAML or TOML; - is standard input)."""
    if file is None and template is None:
        raise click.UsageError("Name a FILE, or a --template.")
    body, kind = read(file, format_) if file else (b"{}", "json")
    given = {"env-name": name, "template": template, **dict(_setting(text) for text in settings)}
    changes = {path: value for path, value in given.items() if value is not None}
    if changes:
        body, kind = _changed(documents.load(body, kind), changes, body, kind)
    found = connect().submit(body, MEDIA_TYPES[kind])
    code = 0
    if watching:
        found, code = watch(found, quiet=json_)
    elif not json_:
        output.line(f"{found.id}  {found.name}  {found.state}")
    if json_:
        output.document(found)
    sys.exit(code)


def _setting(text: str) -> tuple[str, str]:
    path, equal, value = text.partition("=")
    if not equal or not path:
        raise DCloudError(f"{text!r} is not PATH=VALUE, as in resources.gpu=1.")
    return path, value


def _changed(contract: Any, changes: dict[str, str], body: bytes, kind: str) -> tuple[bytes, str]:
    """The contract with these values; as it was where it is no object, which the server has a word for."""
    if not isinstance(contract, dict):
        return body, kind
    for path, value in changes.items():
        *places, last = path.split(".")
        inner = contract
        for place in places:
            inner = inner.setdefault(place, {})
            if not isinstance(inner, dict):
                raise DCloudError(f"{path} cannot be set: {place} is no object.")
        inner[last] = value
    return json.dumps(contract).encode(), "json"
