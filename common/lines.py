"""Lines of text from programs that nobody here wrote, made fit to be kept and shown."""

from __future__ import annotations

import re

MAX_CHARACTERS = 2000

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")


def clean(line: str) -> str:
    """`line` without terminal sequences and control characters, cut at MAX_CHARACTERS."""
    text = _ESCAPES.sub("", line.rstrip("\r\n"))
    text = text.rpartition("\r")[2]  # a progress bar's last drawing is the one that counts
    text = "".join(c if c == "\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
