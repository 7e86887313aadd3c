"""`dcloud quota`: limits by user and those of everyone."""

from __future__ import annotations

from typing import Any

import click

from api.cli import output
from api.cli.connection import connect
from api.client import Json
from common import units
from common.errors import DCloudError

user_argument = click.argument("user", required=False)
everyone = click.option("--default", "everyone", is_flag=True, help="The limits of all who have none of their own.")

# name of the API, of the option, how it is read and shown
AMOUNTS = (
    ("environments", "environments", int, str),
    ("cpu_milli", "cpu", units.cpu_milli, units.human_cpu),
    ("ram_mib", "ram", units.size_mib, units.human_mib),
    ("gpus", "gpus", int, str),
    ("storage_mib", "storage", units.size_mib, units.human_mib),
)


@click.group(invoke_without_command=True)
@output.as_json
@click.pass_context
def quota(context: click.Context, json_: bool) -> None:
    """What one's environments may hold together. Without a command: one's own limits and what is used."""
    if context.invoked_subcommand is None:
        _said(connect().quota(), json_)


@quota.command()
@user_argument
@everyone
@output.as_json
def show(user: str | None, everyone: bool, json_: bool) -> None:
    """The limits of USER, for admins."""
    _said(connect().quota(_whose(user, everyone)), json_)


@quota.command("set")
@user_argument
@everyone
@click.option("--environments", help="How many may hold something; none is no limit.")
@click.option("--cpu", help="Cores, as in 8 or 500m.")
@click.option("--ram", help="As in 64GB.")
@click.option("--gpus", help="How many.")
@click.option("--storage", help="As in 500GB.")
@output.as_json
def set_(user: str | None, everyone: bool, json_: bool, **given: str | None) -> None:
    """Change the limits of USER that are named, for admins; the others stay."""
    limits = {name: _amount(option, read, given[option]) for name, option, read, _ in AMOUNTS if given[option]}
    if not limits:
        raise click.UsageError("Name at least one limit, as in --gpus 2.")
    _said(connect().change_quota(_whose(user, everyone), **limits), json_)


@quota.command()
@user_argument
@everyone
@output.as_json
def clear(user: str | None, everyone: bool, json_: bool) -> None:
    """Let the default hold for USER again, for admins."""
    _said(connect().clear_quota(_whose(user, everyone)), json_)


def _whose(user: str | None, everyone: bool) -> str | None:
    if everyone == bool(user):
        raise click.UsageError("Name a USER, or --default.")
    return user


def _amount(option: str, read: Any, text: str | None) -> int | None:
    if text is None or text.lower() == "none":
        return None
    try:
        return int(read(text))
    except ValueError as error:
        words = "is no whole number" if read is int else str(error)
        raise DCloudError(f"--{option}: {text!r} {words}.") from None


def _said(found: Json, json_: bool) -> None:
    if json_:
        return output.document(found)
    used = found.get("used", {})
    rows = [
        (option, show(used.get(name, 0)) if used else "", "none" if limit is None else show(limit))
        for name, option, _, show in AMOUNTS
        for limit in [found["limits"][name]]
    ]
    output.table(("WHAT", "USED", "LIMIT"), rows)
    return None
