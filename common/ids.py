"""Ids that sort by the time they were made.

15 characters of Crockford's base32 in lowercase (no i, l, o or u, so nobody misreads one):
9 of milliseconds since the epoch, 6 random.
"""

from __future__ import annotations

import re
import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PATTERN = re.compile(f"[{ALPHABET}]{{15}}", re.ASCII)

_REQUEST = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_TIME_LENGTH = 9
_RANDOM_LENGTH = 6


def new_id() -> str:
    """A new id. Two of one millisecond sort by chance; all others by time."""
    return encode(time.time_ns() // 1_000_000, _TIME_LENGTH) + random_text(_RANDOM_LENGTH)


def of_request(given: str) -> str:
    """The id of an HTTP request: the one that its client gave it, where it is one, or a new one."""
    return given if _REQUEST.fullmatch(given) else new_id()


def encode(number: int, length: int) -> str:
    """`number` in `length` characters, the highest first; what does not fit is cut off at the top."""
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(length)))


def random_text(length: int) -> str:
    """`length` random characters, 5 bits each, fit for secrets."""
    return encode(secrets.randbits(5 * length), length)
