"""uv.lock: the versions of everything that is pinned in it.

uv writes it, a line for each thing, so that it can be read by lines: a megabyte of TOML would take a second of a core.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from common.errors import ContractError, Problem
from common.imports.draft import Draft

MAX_LINES = 60_000

_TEXT = re.compile(r'(?P<key>[a-z-]+) = "(?P<value>[^"\\]{0,200})"', re.ASCII)
_SOURCE = re.compile(r"source = \{ (?P<kind>[a-z]+) = .*\}", re.ASCII)
_OWN = ("virtual", "editable")  # the project that is locked, and members of its workspace


def read(text: str, draft: Draft) -> None:
    """Add what is pinned to `draft`. Raises ContractError where it is no lock of uv's."""
    lines = text.splitlines()
    head = [line for line in lines[:20] if not line.startswith("#")]
    if "version = 1" not in head:
        raise ContractError([Problem("", 'This is no uv.lock of version 1: it begins with "version = 1".')])
    if len(lines) > MAX_LINES:
        raise ContractError([Problem("", f"The lock has more than {MAX_LINES} lines.")])
    for line in head:
        if (match := _TEXT.fullmatch(line)) and match["key"] == "requires-python":
            draft.python = match["value"]
    names = set()
    for name, version, kind in _packages(lines):
        place = f"package.{name}"
        if kind in _OWN:
            draft.name = draft.name or name
        elif kind != "registry":
            draft.leave(place, f"comes from {kind or 'nowhere'}, and only what is in the package index can be had.")
        elif name in names:
            draft.leave(place, f"is pinned a second time, to {version} for other machines; the first is taken.")
        else:
            names.add(name)
            draft.library(f"{name}=={version}", place)


def _packages(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    """(name, version, kind of source) of each [[package]]."""
    found: dict[str, str] | None = None
    for line in [*lines, "[[end]]"]:
        if line.startswith("["):
            if found and "name" in found:
                yield found["name"], found.get("version", ""), found.get("source", "")
            found = {} if line == "[[package]]" else None
        elif found is not None:
            if (match := _TEXT.fullmatch(line)) and match["key"] in ("name", "version"):
                found.setdefault(match["key"], match["value"])
            elif match := _SOURCE.fullmatch(line):
                found.setdefault("source", match["kind"])
