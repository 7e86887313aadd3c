"""Lines of text from programs that nobody here wrote, made fit to be kept and shown."""

from __future__ import annotations

import re

MAX_CHARACTERS = 2000
MASK = "****"

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")

# bounded, so that a line of a million characters takes no longer for what it might be
_PASSWORDS = re.compile(r"(?<=://)[^\s/?#\"'<>]{1,512}@")
_AUTHORIZATION = re.compile(
    r"(?i)\b((?:proxy-)?authorization\W{1,4})(?:(?:basic|bearer|digest|token)\s+)?[^\s\"']{1,4096}"
)


def masked(text: str) -> str:
    """`text` without the users and passwords of addresses, and without what authorises a request."""
    return _AUTHORIZATION.sub(rf"\1{MASK}", _PASSWORDS.sub(f"{MASK}@", text))


def clean(line: str) -> str:
    """`line` without terminal sequences, control characters and passwords, cut at MAX_CHARACTERS."""
    text = _ESCAPES.sub("", line.rstrip("\r\n"))
    text = text.rpartition("\r")[2]  # a progress bar's last drawing is the one that counts
    text = "".join(c if c == "\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    text = masked(text)  # before it is cut, or half a password would be none
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def escaped(text: str) -> str:
    """`text` with an escape, as in \\u202e, in place of each character that cannot be printed."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
