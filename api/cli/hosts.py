"""`dcloud hosts`."""

from __future__ import annotations

import sys

import click

from api.cli import output
from api.cli.connection import connect
from api.client import Json
from common import units


@click.group(invoke_without_command=True)
@output.as_json
@click.pass_context
def hosts(context: click.Context, json_: bool) -> None:
    """Hosts. Without a command: what they have, what is free."""
    if context.invoked_subcommand is not None:
        return None
    found = connect().hosts()
    if json_:
        return output.document(found)
    if not found:
        return output.line("No worker has ever registered. `make run` starts one here.")
    head = ("HOST", "STATE", "CPU FREE", "RAM FREE", "STORAGE FREE", "GPUS FREE", "ENVIRONMENTS", "SEEN")
    return output.table(head, [_row(host) for host in found])


@hosts.command()
@click.argument("name")
def drain(name: str) -> None:
    """Let the host NAME take nothing new, for admins; what runs there goes on."""
    _said(connect().drain(name))


@hosts.command()
@click.argument("name")
def undrain(name: str) -> None:
    """Let the host NAME take environments again, for admins."""
    _said(connect().drain(name, draining=False))


@hosts.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Also what it holds: its environments fail as lost.")
@click.option("--yes", "-y", "-f", is_flag=True, help="Do not ask.")
def forget(name: str, force: bool, yes: bool) -> None:
    """Forget the lost host NAME, for admins."""
    if force and not yes and not sys.stdin.isatty():
        raise click.UsageError("Nobody is here to be asked. Add --yes.")
    if force and not yes:
        click.confirm(f"Forget {name} and fail every environment that it holds?", abort=True, err=True)
    connect().forget(name, force)


def _said(host: Json) -> None:
    output.line(f"{host['name']}  {host['state']}")


def _row(host: Json) -> tuple[str, ...]:
    cpu, ram, storage, gpus = host["cpu_milli"], host["ram_mib"], host["storage_mib"], host["gpus"]
    return (
        host["name"],
        host["state"] + (", overcommitted" if host["overcommitted"] else ""),
        f"{units.human_cpu(cpu['free'])}/{units.human_cpu(cpu['total'])}",
        f"{units.human_mib(ram['free'])}/{units.human_mib(ram['total'])}",
        f"{units.human_mib(storage['free'])}/{units.human_mib(storage['total'])}",
        f"{sum(gpu['free'] for gpu in gpus)}/{len(gpus)}",
        str(host["environment_count"]),
        f"{host['heartbeat_age_seconds']:.0f}s ago",
    )
