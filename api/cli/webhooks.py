"""`dcloud webhooks`: list them; add or delete one."""

from __future__ import annotations

import click

from api.cli import output
from api.cli.connection import connect
from api.client import Json
from common.states import State


@click.group(invoke_without_command=True)
@output.as_json
@click.pass_context
def webhooks(context: click.Context, json_: bool) -> None:
    """Addresses that are told of steps of your environments. Without a command: yours."""
    if context.invoked_subcommand is not None:
        return None
    found = connect().webhooks()
    if json_:
        return output.document(found)
    rows = [(hook["id"], hook["url"], ", ".join(hook["states"]), _last(hook)) for hook in found]
    return output.table(("ID", "URL", "STATES", "LAST"), rows)


@webhooks.command()
@click.argument("url")
@click.option("--state", "states", multiple=True, type=click.Choice([s.value for s in State]), help="Can be repeated.")
@output.as_json
def add(url: str, states: tuple[str, ...], json_: bool) -> None:
    """Have steps posted to URL; without --state those to running, stopped, failed and deleted.

    Shows the secret that signs the messages, this once.
    """
    made = connect().create_webhook(url, states)
    if json_:
        return output.document(made)
    return output.line(f"{made['id']}  {made['secret']}")


@webhooks.command()
@click.argument("hook_id", metavar="ID")
def rm(hook_id: str) -> None:
    """Delete the webhook ID."""
    connect().delete_webhook(hook_id)


def _last(hook: Json) -> str:
    last = hook["last"]
    if last is None:
        return "none yet"
    return f"{output.age(last['at'])} ago: {last['error'] or last['status']}"
