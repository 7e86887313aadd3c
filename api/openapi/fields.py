"""What our own marshmallow fields are in a JSON schema."""

from __future__ import annotations

from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import fields

from common.fields import MAX_TEXT
from common.plain_fields import Choice, Choices, Secret, Truth, Whole, Word

Json = dict[str, Any]


class Fields(MarshmallowPlugin):
    """apispec's plugin, which knows our fields; a schema's component has the name of its class."""

    def __init__(self) -> None:
        super().__init__(schema_name_resolver=lambda schema: schema.__name__)

    def init_spec(self, spec: APISpec) -> None:
        """As apispec asks for it, when the document begins."""
        super().init_spec(spec)
        self.converter.add_attribute_function(_attributes)  # type: ignore[union-attr]


def _attributes(_converter: Any, field: fields.Field[Any], **_: Any) -> Json:
    kind = _kind(field)
    if field.allow_none and isinstance(kind.get("type"), str):
        kind["type"] = [kind["type"], "null"]
    return kind


def _kind(field: fields.Field[Any]) -> Json:
    match field:
        case Choices():
            kind: Json = {"type": "array", "items": {"type": "string", "enum": list(field.choices)}, "minItems": 1}
        case Choice():
            kind = {"type": "string", "enum": list(field.choices)}
        case Whole():
            kind = {"type": "integer", "minimum": field.least, "maximum": field.most}
        case Truth():
            kind = {"type": "boolean"}
        case Word():
            kind = {"type": "string", "maxLength": field.longest}
        case Secret():
            kind = {"type": "string", "maxLength": MAX_TEXT, "format": "password"}
        case _:
            kind = dict(field.metadata.get("schema", {}))
    return kind
