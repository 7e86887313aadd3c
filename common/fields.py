"""The fields of a contract's schema: every value may be text, an empty text means the default.

A field's `convert` turns the text into its value and raises ValueError with the end of a sentence that
begins with the value.
"""

from __future__ import annotations

import difflib
from functools import cache
from typing import Any, cast

from marshmallow import RAISE, Schema, ValidationError, fields

from common.errors import Problem

MAX_TEXT = 256
MAX_PATH = 120
MAX_LIST_CHARACTERS = 10_000  # of all entries; reading 200 hostile requirements would take 150 ms otherwise


class Text(fields.Field[Any]):
    """A string, or a number written without quotes; "" and None mean the default."""

    def __init__(self, default: str, convert: Any = str):
        self.default_text = default
        self.convert = convert
        super().__init__(load_default=lambda: convert(default), allow_none=True)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Any:
        return super().deserialize(self.default_text if value is None else value, attr, data, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValidationError(f"must be a string or a number, not {kind_of(value)}.")
        text = value if isinstance(value, str) else f"{value}"
        if len(text) > MAX_TEXT:
            raise ValidationError(f"is longer than {MAX_TEXT} characters.")
        if not text.isprintable():
            raise ValidationError("contains a line break, NUL or another character that cannot be printed. Remove it.")
        try:
            return self.convert(text.strip() or self.default_text)
        except ValueError as error:
            raise ValidationError(f"{text!r} {error}.") from None


class LongText(fields.Field[str]):
    """A string of many lines; "" and None mean that there is none. `convert` is told the text as it is."""

    def __init__(self, convert: Any, limit: int):
        self.convert = convert
        self.limit = limit
        super().__init__(load_default="", allow_none=True)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Any:
        return super().deserialize("" if value is None else value, attr, data, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError(f"must be a string, not {kind_of(value)}.")
        if len(value) > self.limit:
            raise ValidationError(f"is longer than {self.limit} characters.")
        if not value.strip():
            return ""
        try:
            return str(self.convert(value))
        except ValueError as error:
            raise ValidationError(f"{error}.") from None


class Flag(Text):
    """true or false, with or without quotes."""

    def __init__(self) -> None:
        super().__init__("false", _flag)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        return value if isinstance(value, bool) else super()._deserialize(value, attr, data, **kwargs)


class TextList(fields.Field[tuple[str, ...]]):
    """A list of strings, each kept once; one string is a list of one, "" is the empty list."""

    def __init__(self, convert: Any, limit: int):
        self.item = Text("", convert)
        self.limit = limit
        super().__init__(load_default=(), allow_none=True)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Any:
        return super().deserialize([] if value is None else value, attr, data, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            value = [value] if value.strip() else []
        if not isinstance(value, list):
            raise ValidationError(f"must be a list of strings, not {kind_of(value)}.")
        if len(value) > self.limit:
            raise ValidationError(f"has {len(value)} entries; at most {self.limit} are allowed.")
        if sum(len(entry) for entry in value if isinstance(entry, str)) > MAX_LIST_CHARACTERS:
            raise ValidationError(f"has more than {MAX_LIST_CHARACTERS} characters in all. Name fewer.")
        result: dict[str, None] = {}
        errors = {}
        for index, entry in enumerate(value):
            try:
                if entry is None or (isinstance(entry, str) and not entry.strip(" ")):
                    raise ValidationError("is empty. Remove it.")
                result[self.item.deserialize(entry)] = None
            except ValidationError as error:
                errors[index] = error.messages
        if errors:
            raise ValidationError(cast(Any, errors))
        return tuple(result)


class Section(fields.Nested):
    """An object of its own schema; what is missing, null or "" has all defaults."""

    def __init__(self, schema: type[Schema]):
        made = cache(schema)  # one for all documents, as for the contract itself
        super().__init__(made, load_default=lambda: made().load({}), allow_none=True)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Any:
        return super().deserialize({} if value in (None, "") else value, attr, data, **kwargs)


class Strict(Schema):
    """Refuses unknown keys by name, with the nearest known one."""

    DOCUMENT = "a contract"  # what it describes, for the sentence about an unknown key

    class Meta:
        unknown = RAISE

    def handle_error(self, error: ValidationError, data: Any, *, many: bool, **kwargs: Any) -> None:
        known = [f.data_key or name for name, f in self.fields.items()]
        messages = error.messages if isinstance(error.messages, dict) else {}
        for key, texts in messages.items():
            if key not in known and texts == [self.error_messages["unknown"]]:
                close = difflib.get_close_matches(str(key).lower(), known, n=1, cutoff=0.5)
                hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(known)}."
                messages[key] = [f"is not a key of {self.DOCUMENT} here. {hint}"]


def problems(messages: Any, path: str = "") -> list[Problem]:
    """What a schema complains about, each with its path. `messages` are a ValidationError's."""
    if isinstance(messages, dict):
        return [problem for key, inner in messages.items() for problem in problems(inner, _join(path, key))]
    texts = messages if isinstance(messages, list) else [messages]
    return [Problem(path, "must be an object." if text == "Invalid input type." else str(text)) for text in texts]


def kind_of(value: object) -> str:
    """The kind of a value, in the words of documents."""
    names = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text.lower() == "true"


def _join(path: str, key: object) -> str:
    if key == "_schema":
        return path
    inner = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}".lstrip(".")
    return inner if len(inner) <= MAX_PATH else inner[:MAX_PATH] + "…"
