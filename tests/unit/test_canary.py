"""The canary: what was received is not waited for, whichever thread is told first."""

from __future__ import annotations

import time

from workers.canary import DEAF_SECONDS, IDLE_SECONDS, Canary


def quiet() -> Canary:
    return Canary(lambda: None, lambda: False, lambda: False)


def test_a_message_is_waited_for_until_one_is_received() -> None:
    canary = quiet()
    canary.sent(time.monotonic())
    assert canary.due_in() == DEAF_SECONDS
    canary.heard()
    assert canary.due_in() == IDLE_SECONDS


def test_one_that_was_received_before_its_sender_said_so_is_not_waited_for() -> None:
    canary, since = quiet(), time.monotonic()
    canary.heard()
    canary.sent(since)
    assert canary.due_in() == IDLE_SECONDS
