"""What schemathesis must be told: how a body becomes TOML."""

from __future__ import annotations

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/toml")
def toml(_context: Any, value: Any) -> bytes:
    """As inline tables; what TOML does not have becomes text, and is for the API to refuse."""
    if not isinstance(value, dict):
        return _inline(value).encode(errors="replace")
    return "\n".join(f"{json.dumps(str(key))} = {_inline(inner)}" for key, inner in value.items()).encode(
        errors="replace"
    )


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(inner) for inner in value) + "]"
    return json.dumps(value if isinstance(value, bool | int | float | str) else str(value))
