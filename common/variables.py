"""Environment variables that a contract sets, by name; those that others rely on are not a user's to set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from marshmallow import ValidationError, fields

from common.fields import kind_of

MAX_VARIABLES = 100
MAX_CHARACTERS = 16_384  # of all names and values together
NAME = r"[A-Za-z_][A-Za-z0-9_]{0,127}"

# Which GPUs there are, what the loader puts into every program, who and where the user is, how shells and Python start.
REFUSED = (
    "NVIDIA_*", "CUDA_VISIBLE_DEVICES", "LD_*", "GLIBC_TUNABLES", "GCONV_PATH", "DCLOUD_*", "PATH", "HOME", "USER",
    "LOGNAME", "HOSTNAME", "SHELL", "IFS", "ENV", "BASH_ENV", "VIRTUAL_ENV", "PYTHONHOME",
)  # fmt: skip

_NAME = re.compile(NAME, re.ASCII)
_REFUSED = re.compile("|".join(re.escape(name).replace(r"\*", ".*") for name in REFUSED), re.IGNORECASE)


class Variables(fields.Field[tuple[tuple[str, str], ...]]):
    """An object of strings, as pairs in the order of their names; null and "" are the empty one."""

    def __init__(self) -> None:
        super().__init__(load_default=(), allow_none=True)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Any:
        return super().deserialize({} if value in (None, "") else value, attr, data, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, Mapping):
            raise ValidationError(f"must be an object of strings, not {kind_of(value)}.")
        if len(value) > MAX_VARIABLES:
            raise ValidationError(f"has {len(value)} entries; at most {MAX_VARIABLES} are allowed.")
        wrong = {str(name): [said] for name, text in value.items() if (said := _problem(name, text))}
        if wrong:
            raise ValidationError(cast(Any, wrong))
        pairs = tuple(sorted((name, str(text)) for name, text in value.items()))
        if sum(len(name) + len(text) for name, text in pairs) > MAX_CHARACTERS:
            raise ValidationError(f"has more than {MAX_CHARACTERS} characters in all. Put large values into a file.")
        return pairs


def _problem(name: object, value: object) -> str:
    """What is wrong with a variable, "" where nothing is."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "is not a variable's name: 1 to 128 letters, digits and '_', beginning with no digit."
    if _REFUSED.fullmatch(name):
        return f"cannot be set here: {', '.join(REFUSED)} are the environment's own."
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return f"must be a string or a number, not {kind_of(value)}."
    if not str(value).isprintable():
        return "contains a line break, NUL or another character that cannot be printed. Remove it."
    return ""
