"""`dcloud logs` and `lock`."""

from __future__ import annotations

import json
import sys

import click

from api.cli import output
from api.cli.connection import connect, resolve
from api.cli.environments import environment


@click.command()
@environment
@click.option("--follow", "-f", is_flag=True, help="Go on as lines come.")
@click.option("--source", type=click.Choice(["build", "container"]), default="build", show_default=True)
@output.as_json
def logs(environment: str, follow: bool, source: str, json_: bool) -> None:
    """The log of ENV: of its build, or of its container. With --json each line is a JSON string."""
    client = connect()
    rest = b""
    for part in client.logs(resolve(client, environment), source, follow):
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            _print(line, json_)
    if rest:
        _print(rest, json_)


@click.command()
@environment
@output.as_json
def lock(environment: str, json_: bool) -> None:
    """The libraries of ENV with versions and hashes. With --json as a contract's `language` takes it."""
    client = connect()
    text = client.lock(resolve(client, environment))
    if json_:
        return output.document({"lock": text})
    return click.echo(text, nl=False)


def _print(line: bytes, json_: bool) -> None:
    text = line.decode(errors="replace")
    if json_:
        click.echo(json.dumps(text))
    else:
        output.line(text)
    sys.stdout.flush()
