"""pip's requirements files: one requirement a line. Nothing that they include or point to is followed."""

from __future__ import annotations

import re

from common.imports.draft import Draft

MAX_LINES = 5000

_COMMENT = re.compile(r"(?:^|\s)#.*$")
_HASH = re.compile(r"\s--hash[= ]\S+")
_OPTION = re.compile(r"\s--[a-z-]+(?:[= ]\S+)?")


def read(text: str, draft: Draft) -> None:
    """Add what the file asks for to `draft`."""
    hashes = 0
    for number, line in _lines(text):
        place = f"line {number}"
        if number > MAX_LINES:
            draft.leave(place, f"and what follows is left out: at most {MAX_LINES} lines are read.")
            break
        if line.startswith("-"):
            draft.leave(place, f"{line[:100]!r} is an option of pip, which a contract does not have.")
            continue
        bare, found = _HASH.subn("", line)
        hashes += found
        bare, options = _OPTION.subn("", bare)
        if options:
            draft.leave(place, "has options of pip, which are left out.")
        draft.library(bare, place)
    if hashes:
        draft.leave("hashes", f"{hashes} hashes are left out: DCloud locks with hashes by itself.")


def _lines(text: str) -> list[tuple[int, str]]:
    """Logical lines with the number of their first: continued ones joined, without comments and empty ones."""
    found, whole, began = [], "", 0
    for number, line in enumerate(text.splitlines(), 1):
        began = began if whole else number
        bare = _COMMENT.sub("", line).strip()
        if bare.endswith("\\"):
            whole += f"{bare[:-1].rstrip()} "
            continue
        whole = f"{whole}{bare}".strip()
        if whole:
            found.append((began, whole))
        whole = ""
    if whole.strip():
        found.append((began, whole.strip()))
    return found
