"""`dcloud users`: accounts, for admins; and one's own password."""

from __future__ import annotations

import sys

import click

from api.cli import output
from api.cli.connection import connect
from api.client import Json
from common.principal import ROLES

name = click.argument("name")


@click.group(invoke_without_command=True)
@output.as_json
@click.pass_context
def users(context: click.Context, json_: bool) -> None:
    """Accounts. Without a command: all of them, for admins."""
    if context.invoked_subcommand is not None:
        return None
    found = list(connect().users())
    if json_:
        return output.document(found)
    return output.table(("NAME", "ROLE", "PASSWORD", "SINCE", "STATE"), [_row(user) for user in found])


@users.command()
@name
@click.option("--admin", is_flag=True, help="An admin, and no user.")
@click.option("--password", "with_password", is_flag=True, help="Ask for a password too.")
@output.as_json
def add(name: str, admin: bool, with_password: bool, json_: bool) -> None:
    """Add the account NAME."""
    password = ask("Password", confirmed=True) if with_password else None
    made = connect().create_user(name, "admin" if admin else "user", password)
    _said(made, json_)
    if not json_ and password is None:
        output.line(f"A token for it: dcloud tokens create --user {made['name']}")


@users.command()
@name
@click.argument("role", type=click.Choice(ROLES))
@output.as_json
def role(name: str, role: str, json_: bool) -> None:
    """Make NAME an admin or a user."""
    _said(connect().change_user(name, role=role), json_)


@users.command()
@name
@output.as_json
def disable(name: str, json_: bool) -> None:
    """Let NAME do nothing any more; environments stay as they are."""
    _said(connect().change_user(name, disabled=True), json_)


@users.command()
@name
@output.as_json
def enable(name: str, json_: bool) -> None:
    """Let NAME in again."""
    _said(connect().change_user(name, disabled=False), json_)


@users.command()
@click.argument("name", required=False)
def password(name: str | None) -> None:
    """Set the password of NAME, by default one's own; it is asked for, or read from standard input."""
    client = connect()
    me = client.user()
    own = name in (None, me["name"])
    current = ask("Present password") if own and me["has_password"] else ""
    client.set_password(ask("New password", confirmed=True), current, me["name"] if own else str(name))
    output.line("Done. Sessions on the pages have ended.")


def ask(what: str, *, confirmed: bool = False) -> str:
    """A secret from whoever sits here; a line of standard input where nobody does."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return str(click.prompt(what, hide_input=True, confirmation_prompt=confirmed, err=True))


def _said(user: Json, json_: bool) -> None:
    if json_:
        return output.document(user)
    return output.line(f"{user['name']}  {user['role']}" + ("  disabled" if user["disabled"] else ""))


def _row(user: Json) -> tuple[str, ...]:
    state = "disabled" if user["disabled"] else "active"
    return user["name"], user["role"], "yes" if user["has_password"] else "no", output.age(user["created_at"]), state
