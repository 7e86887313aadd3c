"""Hypothesis without a deadline: on a busy machine an example's time says nothing about the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("dcloud", deadline=None, print_blob=True)
settings.load_profile("dcloud")
