"""pyproject.toml: the project's name, its Python and its dependencies, by PEP 621 or as Poetry writes them."""

from __future__ import annotations

import re
from typing import Any

from common import documents
from common.imports.draft import Draft

MAX_KEYS = 1000
_PLAIN = re.compile(r"[0-9][0-9A-Za-z.]*", re.ASCII)
_RANGE = re.compile(r"([\^~])\s*([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?", re.ASCII)


def read(text: str, draft: Draft) -> None:
    """Add what the file asks for to `draft`. Raises ContractError where it is no TOML."""
    data = documents.load(text.encode(), "toml", MAX_KEYS)
    project = _object(data.get("project"))
    poetry = _object(_object(data.get("tool")).get("poetry"))
    draft.name = str(project.get("name") or poetry.get("name") or "")
    if project:
        _project(project, draft)
    if poetry.get("dependencies"):
        _poetry(_object(poetry["dependencies"]), draft)
    if not project and not poetry:
        draft.leave("project", "is missing: neither [project] nor [tool.poetry] says what it depends on.")
    for name in _object(project.get("optional-dependencies")):
        draft.leave(f"project.optional-dependencies.{name}", "is left out: extras are chosen by name elsewhere.")
    for name in _object(data.get("dependency-groups")):
        draft.leave(f"dependency-groups.{name}", "is left out: only what the project itself needs is taken.")
    for name in _object(poetry.get("group")):
        draft.leave(f"tool.poetry.group.{name}", "is left out: only what the project itself needs is taken.")


def _project(project: dict[str, Any], draft: Draft) -> None:
    draft.python = str(project.get("requires-python", ""))
    wanted = project.get("dependencies", [])
    for index, one in enumerate(wanted if isinstance(wanted, list) else []):
        draft.library(str(one), f"project.dependencies[{index}]")
    if "dependencies" in _list(project.get("dynamic")):
        draft.leave("project.dynamic", "says that a build finds the dependencies out, and nothing is built here.")


def _poetry(wanted: dict[str, Any], draft: Draft) -> None:
    for name, value in wanted.items():
        place = f"tool.poetry.dependencies.{name}"
        version, extras = value, ""
        if isinstance(value, dict):
            version, extras = value.get("version", ""), ",".join(_list(value.get("extras")))
            if unknown := sorted(set(value) - {"version", "extras"}):
                draft.leave(place, f"has {', '.join(unknown)[:80]}, which a contract does not have.")
                continue
        specifier = _specifier(str(version))
        if specifier is None:
            draft.leave(place, f"{str(version)[:60]!r} is not understood.")
        elif name == "python":
            draft.python = draft.python or specifier
        else:
            draft.library(f"{name}{f'[{extras}]' if extras else ''}{specifier}", place)


def _specifier(text: str) -> str | None:
    """Poetry's way to say a version as PEP 440 has it; None where it is something else."""
    parts = [_part(part.strip()) for part in text.split(",")]
    return None if None in parts else ",".join(part for part in parts if part)


def _part(text: str) -> str | None:
    if text in ("*", ""):
        return ""
    if _PLAIN.fullmatch(text):
        return f"=={text}"
    match = _RANGE.fullmatch(text)
    if match is None:
        return None if re.match(r"[\^~](?!=)", text) or "|" in text else text
    numbers = [int(number) for number in match.groups()[1:] if number is not None]
    rises = (
        min(1, len(numbers) - 1) if match[1] == "~" else next((i for i, n in enumerate(numbers) if n), len(numbers) - 1)
    )
    below = [*numbers[:rises], numbers[rises] + 1]
    return f">={'.'.join(map(str, numbers))},<{'.'.join(map(str, below))}"


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
