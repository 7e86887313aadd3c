"""What `dcloud` prints: tables for people, plain lines for pipes, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.errors import Problem
from common.lines import clean
from common.states import SENTENCES, Reason

STYLES = {"running": "green", "failed": "red", "stopped": "dim", "deleted": "dim", "queued": "yellow"}

as_json = click.option("--json", "json_", is_flag=True, help="Print JSON.")


def document(value: Any) -> None:
    """`value` as JSON."""
    click.echo(json.dumps(value, indent=2))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Aligned columns in a terminal; elsewhere a line a row, cells between tabs."""
    console = Console()
    if not console.is_terminal:
        for row in (head, *rows):
            click.echo("\t".join(clean(cell) for cell in row))
        return
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        grid.add_column(name, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(clean(cell), style=STYLES.get(cell, "")) for cell in row))
    console.print(grid)


def line(text: str) -> None:
    """One line, without whatever could drive the terminal."""
    click.echo(clean(text))


def note(text: str) -> None:
    """One line on stderr, for a person beside what a program reads."""
    click.echo(clean(text), err=True)


def refusal(text: str, problems: Iterable[Problem] = ()) -> None:
    """An error on stderr; each problem of a document on its own line with its path."""
    found = list(problems)
    for problem in found:
        click.echo(clean(f"{problem.path}: {problem.message}" if problem.path else problem.message), err=True)
    if not found:
        click.echo(clean(f"dcloud: {text}"), err=True)


def sentence(reason: str) -> str:
    """A reason in words."""
    try:
        return SENTENCES[Reason(reason)]
    except ValueError:
        return reason


def age(at: str) -> str:
    """How long ago an ISO time was: `"42s"`, `"5m"`, `"3h"`, `"2d"`."""
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
