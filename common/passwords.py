"""Passwords of people, by argon2id with its authors' defaults (RFC 9106, low memory)."""

from __future__ import annotations

import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST = 12, 256

_HASHER = PasswordHasher()


def problem(password: str, user: str) -> str:
    """What is wrong with a new password, as a sentence; "" for nothing."""
    text = _normal(password)
    if not SHORTEST <= len(text) <= LONGEST:
        return f"A password has {SHORTEST} to {LONGEST} characters; a few words in a row are a good one."
    if len(text.lower().replace(user, "")) < SHORTEST // 2 or len(set(text)) < SHORTEST // 3:
        return "This password is too easy to guess. A few words in a row are a good one."
    return ""


def digest(password: str) -> str:
    """What is kept of a password."""
    return _HASHER.hash(_normal(password))


def matches(kept: str, password: str) -> bool:
    """Whether this is the password. Without one kept it takes as long and says no, so that time tells nothing."""
    try:
        return _HASHER.verify(kept or _nobodys(), _normal(password)[: LONGEST + 1]) and bool(kept)
    except (VerificationError, InvalidHashError):
        return False


def outdated(kept: str) -> bool:
    """Whether it was made with weaker parameters than today's."""
    return _HASHER.check_needs_rehash(kept)


def _normal(password: str) -> str:
    # two keyboards may send the same letter in two ways
    return unicodedata.normalize("NFKC", password.encode(errors="replace").decode())


@cache
def _nobodys() -> str:
    return _HASHER.hash("nobody has this one")
