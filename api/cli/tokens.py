"""`dcloud tokens`: API tokens."""

from __future__ import annotations

import click

from api.cli import output
from api.cli.connection import connect
from api.client import Json
from common.principal import SCOPES

token_id = click.argument("token_id", metavar="ID")
user_option = click.option("--user", default="", help="Another's, for admins.")


@click.group(invoke_without_command=True)
@output.as_json
@user_option
@click.pass_context
def tokens(context: click.Context, json_: bool, user: str) -> None:
    """API tokens. Without a command: one's own."""
    if context.invoked_subcommand is not None:
        return None
    found = connect().tokens(user)
    if json_:
        return output.document(found)
    return output.table(("ID", "NAME", "KIND", "SCOPES", "USED", "ENDS"), [_row(token) for token in found])


@tokens.command()
@click.argument("name", default="")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="Repeat it; read and submit else.")
@click.option("--lifetime", default="", help="Until it ends, as in 90d; else it has no end.")
@click.option("--kind", default="user", type=click.Choice(("user", "service")), help="What holds it.")
@user_option
@output.as_json
def create(name: str, scopes: tuple[str, ...], lifetime: str, kind: str, user: str, json_: bool) -> None:
    """Make a token and print it. It cannot be seen again."""
    _shown(connect().create_token(name, scopes, lifetime, kind, user), json_)


@tokens.command()
@token_id
@click.option("--overlap", default="24h", show_default=True, help="How long the old one still works.")
@output.as_json
def rotate(token_id: str, overlap: str, json_: bool) -> None:
    """Print a token that replaces the one called ID."""
    _shown(connect().rotate_token(token_id, overlap), json_)


@tokens.command()
@token_id
def revoke(token_id: str) -> None:
    """End the token called ID at once."""
    connect().revoke_token(token_id)


def _shown(made: Json, json_: bool) -> None:
    if json_:
        return output.document(made)
    return output.line(made["token"])


def _row(token: Json) -> tuple[str, ...]:
    used = f"{output.age(token['last_used_at'])} ago" if token["last_used_at"] else "never"
    ends = "expired" if token["expired"] else (token["expires_at"] or "never")
    return token["id"], token["name"], token["kind"], " ".join(token["scopes"]), used, ends
