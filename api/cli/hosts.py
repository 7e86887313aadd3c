"""`dcloud hosts`."""

from __future__ import annotations

import click

from api.cli import output
from api.cli.connection import connect
from api.client import Json
from common import units


@click.command()
@output.as_json
def hosts(json_: bool) -> None:
    """Hosts: what they have, what is free."""
    found = connect().hosts()
    if json_:
        return output.document(found)
    if not found:
        return output.line("No worker has ever registered. `make run` starts one here.")
    head = ("HOST", "STATE", "CPU FREE", "RAM FREE", "STORAGE FREE", "GPUS FREE", "ENVIRONMENTS", "SEEN")
    return output.table(head, [_row(host) for host in found])


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
