"""`dcloud submit`."""

from __future__ import annotations

import json
import sys

import click

from api.cli import output
from api.cli.connection import connect
from api.cli.contracts import MEDIA_TYPES, contract_file, read
from api.cli.watch import watch
from common import documents


@click.command()
@contract_file
@click.option("--watch", "-w", "watching", is_flag=True, help="Show the progress until it runs (0) or failed (1).")
@click.option("--name", help="Use this name instead of the contract's.")
@output.as_json
def submit(file: str, watching: bool, name: str | None, format_: str | None, json_: bool) -> None:
    """Submit the contract in FILE (JSON, YAML or TOML; - is standard input)."""
    body, kind = read(file, format_)
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
