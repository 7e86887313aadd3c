"""`dcloud import`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from api.cli import output
from api.cli.connection import connect
from api.cli.watch import watch
from common.errors import DCloudError
from common.imports import FORMATS
from common.imports.formats import MAX_LOCK_BYTES
from common.lines import clean


@click.command(name="import")
@click.argument("file", metavar="FILE|-")
@click.option("--format", "kind", type=click.Choice(list(FORMATS)), help="What it is, where its name does not say.")
@click.option("--submit", "submitting", is_flag=True, help="Submit it, after you have seen it.")
@click.option("--watch", "-w", "watching", is_flag=True, help="With --submit: show the progress until it runs.")
@click.option("--yes", "-y", is_flag=True, help="With --submit: do not ask.")
def import_(file: str, kind: str | None, submitting: bool, watching: bool, yes: bool) -> None:
    """Show what FILE means as a contract: a requirements.txt, pyproject.toml, conda environment.yml,
    devcontainer.json or uv.lock. What a contract cannot say is named on standard error.
    """
    client = connect()
    found = client.import_(_read(file), file, kind or "")
    output.document(found["contract"])
    for problem in found["left_out"]:
        click.echo(clean(f"{problem['path']}: {problem['message']}".removeprefix(": ")), err=True)
    if not submitting:
        return
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Nobody is here to be asked. Add --yes.")
    if not yes:
        click.confirm("Submit this contract?", abort=True, err=True)
    environment = client.submit(found["contract"])
    if watching:
        sys.exit(watch(environment)[1])
    output.line(f"{environment.id}  {environment.name}  {environment.state}")


def _read(file: str) -> bytes:
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as opened:
            return opened.read(MAX_LOCK_BYTES + 1)
    except OSError as error:
        raise DCloudError(f"{file} cannot be read: {error.strerror}.") from None
