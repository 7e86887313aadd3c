"""The fields of bodies that are no contracts: each takes one type of JSON, and no other that could be read as it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from marshmallow import ValidationError, fields

from common.fields import MAX_TEXT, kind_of


class _Field(fields.Field[Any]):
    default_error_messages = {"required": "is missing.", "null": "must not be null."}  # noqa: RUF012 - marshmallow's own

    def __init__(self, meaning: str, **kwargs: Any):
        super().__init__(metadata={"description": meaning}, **kwargs)


class Word(_Field):
    """A string of one line. `convert` makes its value of it, or raises ValueError with the end of a sentence."""

    def __init__(self, meaning: str, convert: Callable[[str], Any] = str, longest: int = MAX_TEXT, **kwargs: Any):
        super().__init__(meaning, **kwargs)
        self.convert = convert
        self.longest = longest

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str):
            raise ValidationError(f"must be a string, not {kind_of(value)}.")
        if len(value) > self.longest:
            raise ValidationError(f"is longer than {self.longest} characters.")
        if not value.isprintable():
            raise ValidationError("contains a line break, NUL or another character that cannot be printed. Remove it.")
        try:
            return self.convert(value)
        except ValueError as error:
            raise ValidationError(f"{value!r} {error}.") from None


class Secret(_Field):
    """A password: any string, which no message repeats."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise ValidationError(f"must be a string of at most {MAX_TEXT} characters.")
        return value


class Choice(_Field):
    """One of a few words."""

    def __init__(self, meaning: str, choices: Sequence[str], **kwargs: Any):
        super().__init__(meaning, **kwargs)
        self.choices = tuple(choices)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise ValidationError(f"must be one of {', '.join(self.choices)}.")
        return value


class Choices(Choice):
    """A list of some of a few words, each kept once."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, list) or not value or len(value) > MAX_TEXT:
            raise ValidationError(f"must be a list of some of {', '.join(self.choices)}.")
        return tuple(dict.fromkeys(super(Choices, self)._deserialize(item, attr, data, **kwargs) for item in value))


class Truth(_Field):
    """true or false."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError(f"must be true or false, not {kind_of(value)}.")
        return value


class Whole(_Field):
    """A whole number within limits, both included."""

    def __init__(self, meaning: str, least: int, most: int, **kwargs: Any):
        super().__init__(meaning, **kwargs)
        self.least = least
        self.most = most

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            raise ValidationError(f"must be a whole number between {self.least} and {self.most}.")
        return value
