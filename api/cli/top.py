"""`dcloud top`: hosts and environments, alive."""

from __future__ import annotations

import time
from collections.abc import Callable

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from api.cli import output
from api.cli.connection import connect
from api.client import Client, Json, Unreachable
from common import units
from common.lines import clean
from common.states import State

SHOWN = [state.value for state in State if state not in (State.DELETED, State.FAILED, State.STOPPED)]
MOST = 200
HOSTS = ("HOST", "STATE", "CPU", "RAM", "STORAGE", "GPUS", "ENVIRONMENTS")
ENVIRONMENTS = ("ID", "NAME", "STATE", "%", "WHAT", "HOST", "GPUS", "AGE", "OWNER")


@click.command()
@click.option("--seconds", "-s", default=2.0, show_default=True, help="Between two looks.", type=click.FloatRange(0.5))
@click.option("--once", is_flag=True, help="Look once.")
@output.as_json
def top(seconds: float, once: bool, json_: bool) -> None:
    """Hosts and environments as they are now, until Ctrl-C."""
    client, console = connect(), Console()
    if json_:
        hosts, environments = _look(client)
        return output.document({"hosts": hosts, "environments": environments})
    if once or not console.is_terminal:
        return _plain(*_look(client))
    try:
        with Live(_picture(*_look(client)), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(seconds)
                try:
                    live.update(_picture(*_look(client)), refresh=True)
                except Unreachable as error:
                    live.update(Text(clean(str(error)), style="red"), refresh=True)
    except KeyboardInterrupt:
        return None


def _look(client: Client) -> tuple[list[Json], list[Json]]:
    environments: list[Json] = []
    for found in client.environments(SHOWN):
        environments.append(found)
        if len(environments) == MOST:
            break
    return client.hosts(), environments


def _plain(hosts: list[Json], environments: list[Json]) -> None:
    output.table(HOSTS, [_host(host) for host in hosts])
    output.table(ENVIRONMENTS, [_environment(found) for found in environments])


def _picture(hosts: list[Json], environments: list[Json]) -> Group:
    now = Text(time.strftime("%H:%M:%S"), style="dim")
    return Group(
        now, _grid(HOSTS, [_host(host) for host in hosts]), Text(),
        _grid(ENVIRONMENTS, [_environment(found) for found in environments]),
    )  # fmt: skip


def _grid(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    grid = Table(*head, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*(Text(clean(cell), style=output.STYLES.get(cell, "")) for cell in row))
    return grid


def _host(host: Json) -> tuple[str, ...]:
    gpus = host["gpus"]
    return (
        host["name"],
        host["state"],
        _used(host["cpu_milli"], units.human_cpu),
        _used(host["ram_mib"], units.human_mib),
        _used(host["storage_mib"], units.human_mib),
        f"{sum(not gpu['free'] for gpu in gpus)}/{len(gpus)}",
        str(host["environment_count"]),
    )


def _used(amount: Json, human: Callable[[int], str]) -> str:
    return f"{human(amount['total'] - amount['free'])}/{human(amount['total'])}"


def _environment(found: Json) -> tuple[str, ...]:
    return (
        found["id"],
        found["name"],
        found["state"],
        str(found["progress"]),
        str(found["message"]).partition("\n")[0][:60],
        found["host"],
        str(len(found["gpus"]) or ""),
        output.age(found["created_at"]),
        found["owner"],
    )
