"""Lists a page at a time: `?limit=`, and `?cursor=` that is what the page before said in `next`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flask import request

from api import bodies
from api.problems import Refused

PAGE_LIMIT = 100
Item = TypeVar("Item")


def limit(default: int = 50) -> int:
    """How many the caller wants at most. Raises Refused."""
    return bodies.number("limit", default, 1, PAGE_LIMIT)


def after(pattern: re.Pattern[str], name: str = "cursor") -> str:
    """What the cursor stands for, "" without one. Raises Refused where it is none of ours."""
    text = request.args.get(name, "")
    if not text:
        return ""
    try:
        value = base64.urlsafe_b64decode(text.encode()).decode()
    except (binascii.Error, UnicodeError, ValueError):
        value = ""
    if not pattern.fullmatch(value):
        raise Refused(400, f"{name} is not one that this server gave. Begin without it.")
    return value


def part(items: Sequence[Item], place: Callable[[Item], str], pattern: re.Pattern[str]) -> tuple[list[Item], Any]:
    """Of a list that is short enough to be read whole, sorted by `place`: the page, and the cursor of the next."""
    most, before = limit(), after(pattern)
    rest = [item for item in items if place(item) > before]
    return rest[:most], cursor(place(rest[most - 1]) if len(rest) > most else "")


def cursor(last: str) -> Any:
    """The cursor for what follows `last`; null for nothing."""
    return base64.urlsafe_b64encode(last.encode()).decode() if last else None
