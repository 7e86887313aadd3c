"""`dcloud catalog`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from api.cli import output
from api.cli.connection import connect
from api.client import Json
from common import units


@click.command()
@output.as_json
def catalog(json_: bool) -> None:
    """What can be chosen now, and what of it is free."""
    found = connect().catalog()
    if json_:
        return output.document(found)
    return output.table(("KIND", "WHAT", "CHOICE"), _rows(found))


def _rows(found: Json) -> Iterator[tuple[str, str, str]]:
    for system in found["systems"]:
        for language in system["languages"]:
            versions = ", ".join(language["versions"])
            yield "system", f"{system['image-name']} {system['version']}", f"{language['image-name']} {versions}"
    for framework in found["frameworks"]:
        yield "framework", framework["title"], ", ".join(framework["libraries"])
    for gpu in found["gpus"]:
        free = f"{gpu['free']} of {gpu['total']} free, at most {gpu['largest']['ever']} at once"
        yield "gpu", gpu["request"], free
    for name, human in (("cpu", units.human_cpu), ("ram", units.human_mib), ("storage", units.human_mib)):
        key = "cpu_milli" if name == "cpu" else f"{name}_mib"
        now, ever = (human(found["largest"][when][key]) for when in ("now", "ever"))
        yield "largest", name, f"{now} now, {ever} ever"
    yield "largest", "gpu", f"{found['largest']['now']['gpus']} now, {found['largest']['ever']['gpus']} ever"
