"""`dcloud ls`, `show`, `stop`, `start` and `rm`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

import click

from api.cli import output, several
from api.cli.connection import connect, resolve
from api.cli.several import Several
from api.cli.watch import INTERRUPTED, watch
from api.client import Environment, Json
from common import units
from common.contract import parse
from common.lines import clean
from common.states import State

_SHOWN = [state.value for state in State if state is not State.DELETED]

environment = click.argument("environment", metavar="ENV")


@click.command()
@click.option("--all", "-a", "all_", is_flag=True, help="Also those that were deleted.")
@click.option(
    "--state", multiple=True, type=click.Choice([s.value for s in State]), help="Only these; can be repeated."
)
@click.option("--owner", default="", help="Only this user's (admins).")
@output.as_json
def ls(all_: bool, state: tuple[str, ...], owner: str, json_: bool) -> None:
    """List environments, newest first."""
    states = state or (() if all_ else _SHOWN)
    found = list(connect().environments(states, owner))
    if json_:
        return output.document(found)
    if not found:
        return output.line("There is none. Submit a contract: dcloud submit examples/data-science.json --watch")
    head = ("ID", "NAME", "STATE", "%", "HOST", "GPUS", "AGE", "OWNER")
    return output.table(head, [_row(e) for e in found])


@click.command()
@environment
@output.as_json
def show(environment: str, json_: bool) -> None:
    """Everything about ENV (an id, the beginning of one, or a name)."""
    client = connect()
    found = client.get(resolve(client, environment))
    if json_:
        return output.document(found)
    for name, value in _details(found):
        output.line(f"{name:<12} {value}")
    return None


@click.command()
@several.environments
@output.as_json
def stop(environments: tuple[str, ...], json_: bool) -> None:
    """End the container of each ENV and keep its files."""
    client = connect()
    named = Several(client, environments)
    _end(named, named.each(client.stop, _shown(json_)), json_)


@click.command()
@several.environments
@click.option("--watch", "-w", "watching", is_flag=True, help="Show the progress until it runs (0) or failed (1).")
@output.as_json
def start(environments: tuple[str, ...], watching: bool, json_: bool) -> None:
    """Start each ENV again, with its files."""
    client = connect()
    before: dict[str, str] = {}  # the last event of each, by id

    def begin(env_id: str) -> Environment:
        if watching:
            before[env_id] = next((event["id"] for event in reversed(client.history(env_id))), "0")
        return client.start(env_id)

    named = Several(client, environments)
    started = named.each(begin, _shown(json_ or watching))
    for place, found in enumerate(started if watching else ()):
        started[place], code = watch(found, after=before[found.id], quiet=json_)
        named.code = named.code or code
        if code == INTERRUPTED:
            break
    _end(named, started, json_)


@click.command()
@environment
@click.argument("size")
@output.as_json
def grow(environment: str, size: str, json_: bool) -> None:
    """Give ENV, which is stopped, storage of SIZE (40GB) from its next start on."""
    client = connect()
    found = client.grow(resolve(client, environment), size)
    return output.document(found) if json_ else _line(found)


@click.command()
@several.environments
@click.option("--yes", "-y", "-f", is_flag=True, help="Do not ask.")
@output.as_json
def rm(environments: tuple[str, ...], yes: bool, json_: bool) -> None:
    """Delete each ENV and all of its files."""
    client = connect()
    named = Several(client, environments)
    found = named.each(client.get, _shown(quiet=True))
    if found and not yes and not sys.stdin.isatty():
        raise click.UsageError("This deletes files and nobody is here to be asked. Add --yes.")
    if found and not yes:
        them = ", ".join(clean(f"{one.name} ({one.id})") for one in found)
        click.confirm(f"Delete {them} and all of {'its' if len(found) == 1 else 'their'} files?", abort=True, err=True)
    _end(named, named.each(client.delete, _shown(json_)), json_)


def _shown(quiet: bool) -> Callable[[Json], None]:
    return (lambda _: None) if quiet else _line


def _line(found: Json) -> None:
    output.line(f"{found['id']}  {found['name']}  {found['state']}")


def _end(named: Several, done: list[Environment], json_: bool) -> NoReturn:
    """End with the status of the first that failed; as JSON one environment, or a list where several were named."""
    if json_:
        output.document(done[0] if named.alone else done)
    sys.exit(named.code)


def _row(e: Json) -> tuple[str, ...]:
    gpus = str(len(e["gpus"])) if e["gpus"] else ""
    return (
        e["id"],
        e["name"],
        e["state"],
        str(e["progress"]),
        e["host"],
        gpus,
        output.age(e["created_at"]),
        e["owner"],
    )


def _details(e: Json) -> list[tuple[str, str]]:
    contract = parse(e["contract"])
    resources, cores = contract.resources, units.human_cpu(contract.resources.cpu_milli)
    gpus = f", {resources.gpus.count} GPU {resources.gpus.model}".rstrip() if resources.gpus.count else ""
    place = f", place {e['position']} in the queue" if e["position"] else ""
    details = [
        ("id", e["id"]),
        ("name", e["name"]),
        ("owner", e["owner"]),
        ("state", f"{e['state']} ({e['progress']} %{place})"),
        ("message", str(e["message"]).partition("\n")[0]),
        ("reason", output.sentence(e["reason"])),
        ("host", e["host"]),
        ("gpus", ", ".join(e["gpus"])),
        ("attempt", str(e["attempt"])),
        ("created", e["created_at"]),
        ("started", e["started_at"] or ""),
        ("expires", e["expires_at"] or ""),
        ("os", f"{contract.os.name} {contract.os.version}"),
        ("language", f"{contract.language.name} {contract.language.version}"),
        ("libraries", ", ".join(contract.libraries)),
        (
            "resources",
            f"{cores} core{'' if cores == '1' else 's'}, {units.human_mib(resources.ram_mib)} RAM, "
            f"{units.human_mib(resources.storage_mib)} storage{gpus}",
        ),
    ]
    return [(name, value) for name, value in details if value]
