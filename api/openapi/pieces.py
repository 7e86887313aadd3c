"""The pieces that schemas are made of."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer"}
TRUTH: Json = {"type": "boolean"}
TIME: Json = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Json = {"type": ["string", "null"], "format": "date-time"}
TEXTS: Json = {"type": "array", "items": TEXT}
ID: Json = {"type": "string", "pattern": "^[0-9a-hjkmnp-tv-z]{15}$"}


def ref(name: str) -> Json:
    """A component by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(items: Json) -> Json:
    """A list."""
    return {"type": "array", "items": items}


def thing(**properties: Json) -> Json:
    """An object with just these properties, all of them."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def or_null(schema: Json) -> Json:
    """It, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def page(name: str, item: str) -> Json:
    """A page of a list."""
    return thing(**{name: listed(ref(item)), "next": {"type": ["string", "null"], "description": "the next `cursor`"}})


def links(*names: str) -> Json:
    """Addresses of what belongs to it."""
    return thing(**dict.fromkeys(names, TEXT))


def chosen(values: Any, description: str = "") -> Json:
    """One of a few words."""
    return {
        "type": "string",
        "enum": [str(value) for value in values],
        **({"description": description} if description else {}),
    }
