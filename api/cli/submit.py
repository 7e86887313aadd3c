"""`dcloud submit`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from api.cli import output
from api.cli.connection import connect
from api.cli.watch import watch
from common import documents
from common.errors import DCloudError

MEDIA_TYPES = {"json": "application/json", "yaml": "application/yaml", "toml": "application/toml"}


@click.command()
@click.argument("file", metavar="FILE|-")
@click.option("--watch", "-w", "watching", is_flag=True, help="Show the progress until it runs (0) or failed (1).")
@click.option("--name", help="Use this name instead of the contract's.")
@click.option("--format", "format_", type=click.Choice(list(MEDIA_TYPES)), help="Format, where the name does not say.")
@output.as_json
def submit(file: str, watching: bool, name: str | None, format_: str | None, json_: bool) -> None:
    """Submit the contract in FILE (JSON, YAML or TOML; - is standard input)."""
    body = _read(file)
    kind = format_ or _kind(file, body)
    if name is not None:
        contract = documents.load(body, kind)
        if isinstance(contract, dict):
            body, kind = json.dumps({**contract, "env-name": name}).encode(), "json"
    client = connect()
    found = client.submit(body, MEDIA_TYPES[kind])
    if watching:
        found, code = watch(client, found, quiet=json_)
    else:
        code = 0
        if not json_:
            output.line(f"{found['id']}  {found['name']}  {found['state']}")
    if json_:
        output.document(found)
    sys.exit(code)


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read(documents.MAX_BYTES + 1)
    try:
        with Path(file).open("rb") as opened:
            return opened.read(documents.MAX_BYTES + 1)
    except OSError as error:
        raise DCloudError(f"{file} cannot be read: {error.strerror}.") from None


def _kind(file: str, body: bytes) -> str:
    if file != "-":
        return documents.format_of("", file) or "json"
    return "json" if body.lstrip()[:1] in (b"{", b"[", b"") else "yaml"
