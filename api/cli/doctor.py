"""`dcloud doctor`."""

from __future__ import annotations

import importlib
import sys
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from api.cli import output
from common.lines import clean
from common.settings import Settings

_MARKS = {True: ("ok", "green"), False: ("missing", "red"), None: ("absent", "dim")}


@click.command()
@output.as_json
def doctor(json_: bool) -> None:
    """Check what DCloud needs on this machine. Ends with 1 where something is missing."""
    # by name, because the checks of the engine belong to the workers' side, which the API does not import
    installation = importlib.import_module("deploy.installation").Installation.here()
    variables = {"DCLOUD_REDIS_URL": "redis://127.0.0.1:6379/0", **installation.environment()}
    checks: list[Any] = importlib.import_module("deploy.doctor").run(Settings.from_env(variables))
    if json_:
        output.document([asdict(check) for check in checks])
    else:
        _print(checks)
    sys.exit(1 if any(check.ok is False for check in checks) else 0)


def _print(checks: list[Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        word, style = _MARKS[check.ok]
        console.print(Text(f"{word:<8}", style=style), Text(clean(f"{check.name:<{width}}  {check.found}")), sep="")
        if check.advice and check.ok is not True:
            console.print(Text(clean(f"{'':<8}{'':<{width}}  → {check.advice}"), style="dim"))
