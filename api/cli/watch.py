"""Watching an environment start: a bar that moves with its events, or a line for each where nobody looks."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from api.cli import output
from api.client import Environment, Json
from common.lines import clean

INTERRUPTED = 130
OTHER_COLUMNS = 15  # " 100%", " 0:00:00" and the gaps


def watch(found: Environment, *, after: str = "0", quiet: bool = False) -> tuple[Environment, int]:
    """Follow `found` from the event `after` until it settles; the environment then, and 0 where it runs, else 1.

    Ctrl-C ends the watching alone, with 130.
    """
    display: _Bar | _Lines | _Nothing
    if quiet:
        display = _Nothing()
    elif Console().is_terminal:
        display = _Bar(found)
    else:
        display = _Lines(found)
    try:
        with display:
            found = found.settled(display.show, after)
    except KeyboardInterrupt:
        if not quiet:
            output.line(f"{found['name']} goes on without being watched. See it: dcloud show {found['id']}")
            output.line(f"If it waits, this says for what: dcloud explain {found['id']}")
        return found, INTERRUPTED
    code = 0 if found["state"] == "running" else 1
    if not quiet:
        _say_end(found)
    return found, code


def _say_end(found: Json) -> None:
    if found["state"] == "running":
        output.line(f"{found['name']} runs on {found['host']}. Work in it: dcloud exec {found['id']}")
        return
    output.line(f"{found['name']} is {found['state']}. {output.sentence(found['reason'])}")
    if found["message"]:
        for part in str(found["message"]).splitlines():
            output.line(f"  {part}")
    if found["state"] == "failed":
        output.line(f"The build log: dcloud logs {found['id']}")


class _Bar:
    def __init__(self, found: Json):
        console, name = Console(), clean(found["name"])
        bar = max(10, min(40, console.width - 80))  # what happens is worth more than a long bar
        self._progress = Progress(
            TextColumn("{task.fields[name]}", markup=False, style="bold"),
            BarColumn(bar),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[what]}", markup=False, style="dim"),
            console=console,
        )
        self._task = self._progress.add_task("", total=100, name=name, what="")
        self._width = max(10, console.width - cell_len(name) - bar - OTHER_COLUMNS)

    def show(self, event: Json) -> None:
        what = Text(_what(event))
        if what.cell_len > self._width:
            what = Text(_message(event) or what.plain)
        what.truncate(self._width, overflow="ellipsis")
        self._progress.update(self._task, completed=event["progress"], what=what.plain)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


class _Lines:
    def __init__(self, found: Json):
        self._last = ("", -1)
        output.line(f"{found['id']}  {found['name']}")

    def show(self, event: Json) -> None:
        step = (event["phase"] or event["state"], event["progress"])
        if step != self._last:  # what changes within one percent is for a bar
            output.line(f"{event['progress']:3d} %  {_what(event)}")
        self._last = step

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return


class _Nothing:
    def show(self, event: Json) -> None:
        return

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        return


def _what(event: Json) -> str:
    place, message = event["phase"] or event["state"], _message(event)
    return clean(f"{place}: {message}" if message else place)


def _message(event: Json) -> str:
    return clean(str(event["message"]).partition("\n")[0])
