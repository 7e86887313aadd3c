"""Changing only what the caller saw: who writes takes a `seen`, which looks at the thing as it is at that very moment
and raises where it is another version."""

from __future__ import annotations


def any_version(found: object) -> None:
    """What a caller says who did not look before."""
