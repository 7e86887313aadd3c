"""A question to Redis that travels in somebody else's round trip, where it costs next to nothing."""

from __future__ import annotations

from typing import Any


class Question:
    """One command that changes nothing, and its answer. Where Redis refused it, it counts as not asked."""

    def __init__(self, *command: Any):
        self.command = command
        self.answered = False
        self.answer: Any = None

    def take(self, reply: Any) -> None:
        """What came back in its place: an answer or an error."""
        if not isinstance(reply, Exception):
            self.answered, self.answer = True, reply
