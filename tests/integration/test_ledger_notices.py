"""What a host tells of an environment that runs."""

from __future__ import annotations

import pytest
from ledger_parts import OneHost, wants

from common.errors import Fenced, IllegalTransition, StaleToken
from common.ledger import Ledger
from common.states import Reason, State

pytest_plugins = ["ledger_fixtures"]


def test_a_notice_is_an_event_once_and_ends_with_what_it_was_about(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    job = host.claim()
    with pytest.raises(IllegalTransition):
        ledger.notice("h1", host.epoch, "e1", job.token, Reason.PAUSED, "not yet")
    host.run(job)
    before = len(ledger.events("e1"))
    for _ in range(3):
        ledger.notice("h1", host.epoch, "e1", job.token, Reason.PAUSED, "Paused")
    (event,) = ledger.events("e1")[before:]
    assert (event.state, event.reason, event.message, event.progress) == (State.RUNNING, "paused", "Paused", 100)
    ledger.notice("h1", host.epoch, "e1", job.token, "", "Running")
    assert (ledger.get("e1").reason, ledger.get("e1").message) == ("", "Running")
    with pytest.raises(StaleToken):
        ledger.notice("h1", host.epoch, "e1", job.token - 1, "", "late")
    with pytest.raises(Fenced):
        ledger.notice("h1", "1", "e1", job.token, "", "from an earlier process")
