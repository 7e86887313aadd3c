"""`dcloud check` and `dcloud explain`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from api.cli import output
from api.cli.connection import connect, resolve
from api.cli.contracts import MEDIA_TYPES, contract_file, format_option, read
from api.cli.environments import environment
from api.client import Json
from common import units

NO = 1
SHOWN_HOSTS = 20

_HUMAN: dict[str, tuple[str, Callable[[int], str]]] = {
    "cpu_milli": ("CPU", units.human_cpu),
    "ram_mib": ("RAM", units.human_mib),
    "storage_mib": ("storage", units.human_mib),
    "gpus": ("GPUs", str),
}


@click.command()
@contract_file
@format_option
@click.option("--no-libraries", is_flag=True, help="Do not ask a host whether the libraries go together.")
@output.as_json
def check(file: str, no_libraries: bool, format_: str | None, json_: bool) -> None:
    """Say what would become of the contract in FILE, and submit nothing.

    Ends with 1 where it could never start, or its libraries cannot be installed together.
    """
    body, kind = read(file, format_)
    found = connect().check(body, MEDIA_TYPES[kind], libraries=not no_libraries)
    libraries = found["libraries"]
    if json_:
        output.document(found)
    else:
        _say(found)
        if libraries:
            _say_libraries(libraries)
    sys.exit(NO if found["verdict"] == "never" or (libraries and libraries["verdict"] == "conflict") else 0)


@click.command()
@environment
@output.as_json
def explain(environment: str, json_: bool) -> None:
    """Why ENV waits and until when, host by host."""
    client = connect()
    found = client.explain(resolve(client, environment))
    if json_:
        return output.document(found)
    return _say(found)


def _say(found: Json) -> None:
    place = f" Place {found['position']} in the queue." if found["position"] else ""
    output.line(f"{found['message']}{place}")
    if found["verdict"] in ("wait", "never") and found["hosts"]:
        rows = [(row["host"], row["state"], _lacks(row), row["free_at"] or "") for row in found["hosts"][:SHOWN_HOSTS]]
        output.table(("HOST", "STATE", "SHORT OF", "FREE AT"), rows)


def _lacks(row: Json) -> str:
    parts = [
        f"{human(part['short'])} {name} ({human(part['free'])} free)"
        for key, (name, human) in _HUMAN.items()
        if (part := row["short"].get(key))
    ]
    system = [row["system"]] if row["system"] else []
    kept = ["kept for another"] if row["reserved"] else []
    return ", ".join([*system, *parts, *kept])


def _say_libraries(libraries: Json) -> None:
    words = {"ok": "Libraries", "conflict": "Libraries cannot be had together", "unknown": "Libraries are not checked"}
    output.line(f"{words[libraries['verdict']]}: {libraries['message']}")
    for key, what in (("installed_bytes", "They take"), ("download_bytes", "To be fetched at most:")):
        if libraries[key]:
            output.line(f"{what} {units.human_mib(-(-libraries[key] // units.MIB))}")
