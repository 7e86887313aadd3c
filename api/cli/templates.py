"""`dcloud templates`: list them; show, save or delete one."""

from __future__ import annotations

import sys

import click

from api.cli import output
from api.cli.connection import connect
from api.cli.contracts import contract_file, format_option, read
from common import documents
from common.errors import DCloudError

name = click.argument("name")


@click.group(invoke_without_command=True)
@output.as_json
@click.pass_context
def templates(context: click.Context, json_: bool) -> None:
    """Named contracts. Without a command: those that you may use."""
    if context.invoked_subcommand is not None:
        return None
    found = list(connect().templates())
    if json_:
        return output.document(found)
    rows = [(t["name"], t["title"], t["owner"] or "shipped", _who(t), t["description"]) for t in found]
    return output.table(("NAME", "TITLE", "OWNER", "FOR", "DESCRIPTION"), rows)


@templates.command()
@name
def show(name: str) -> None:
    """The template NAME, as JSON."""
    output.document(connect().template(name))


@templates.command()
@name
@contract_file
@format_option
@click.option("--title", default="", help="For people; by default the name.")
@click.option("--description", default="", help="What it is for.")
@click.option("--public", is_flag=True, help="Everyone may use it.")
def save(name: str, file: str, format_: str | None, title: str, description: str, public: bool) -> None:
    """Save the contract in FILE as the template NAME; in the place of yours of that name."""
    contract = documents.load(*read(file, format_))
    if not isinstance(contract, dict):
        raise DCloudError(f"{file} is no contract: it is not an object.")
    found = connect().save_template(name, contract, title=title, description=description, public=public)
    output.line(f"{found['name']}  {_who(found)}")


@templates.command()
@name
@click.option("--yes", "-y", "-f", is_flag=True, help="Do not ask.")
def rm(name: str, yes: bool) -> None:
    """Delete the template NAME."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Nobody is here to be asked. Add --yes.")
    if not yes:
        click.confirm(f"Delete the template {name}?", abort=True, err=True)
    connect().delete_template(name)


def _who(template: dict[str, object]) -> str:
    return "everyone" if template["public"] else "its owner"
