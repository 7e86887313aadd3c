"""Figures: what was measured, what was promised, and whether that holds. Kept as JSON and shown as a table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

VERDICTS = {True: "holds", False: "[bold red]MISSED[/]", None: ""}


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    value: float | None  # None where it could not be measured
    unit: str
    target: str | None  # as in "≥ 0.3"; None where nothing was promised
    ok: bool | None  # whether the target is reached
    how: str


class Report:
    """The figures of one run; each is on the disk as soon as it is known."""

    def __init__(self, path: Path):
        self.path = path
        self.figures: list[Figure] = []

    def add(
        self,
        name: str,
        value: float | None,
        unit: str,
        how: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> Figure:
        """Note what was measured against its target, if it has one. What could not be measured missed its target."""
        target, ok = None, None
        if at_least is not None:
            target, ok = f"≥ {at_least:g}", value is not None and value >= at_least
        elif at_most is not None:
            target, ok = f"≤ {at_most:g}", value is not None and value <= at_most
        figure = Figure(name, value if value is None else float(f"{value:.4g}"), unit, target, ok, how)
        self._keep(figure)
        return figure

    def failed(self, name: str, why: str) -> None:
        """Note what could not be measured at all: that is no success."""
        self._keep(Figure(name, None, "", "it runs to its end", False, why))

    @property
    def missed(self) -> list[Figure]:
        """Those that are not what was promised."""
        return [figure for figure in self.figures if figure.ok is False]

    def table(self) -> Table:
        """All figures for a person."""
        table = Table(box=None, pad_edge=False)
        for column in ("figure", "value", "target", "", "how"):
            table.add_column(column, justify="right" if column in ("value", "target") else "left", overflow="fold")
        for figure in self.figures:
            value = "-" if figure.value is None else f"{figure.value:g} {figure.unit}".rstrip()
            table.add_row(figure.name, value, figure.target or "", VERDICTS[figure.ok], figure.how)
        return table

    def _keep(self, figure: Figure) -> None:
        self.figures.append(figure)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps([asdict(one) for one in self.figures], indent=1, ensure_ascii=False)
        new = self.path.with_suffix(".new")
        new.write_text(text + "\n", encoding="utf-8")
        new.rename(self.path)
        value = "could not be measured" if figure.value is None else f"{figure.value:g} {figure.unit}"
        Console(highlight=False).print(f"  {figure.name}: {value} {figure.target or ''} {VERDICTS[figure.ok]}")
