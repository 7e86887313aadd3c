"""Why a container ended, by what the engine says of it and by what was seen while it lived."""

from __future__ import annotations

from typing import Any, cast

import pytest

from common.states import Reason
from workers.containers import Found, _found
from workers.endings import Endings


def inspected(
    status: str, *, running: bool = False, exit_code: int = 0, started: str = "2026-01-02T03:04:05.6Z"
) -> Found:
    """A container as the engine describes it in some state."""
    state = {
        "Status": status, "Running": running, "Paused": False, "OOMKilled": False, "Pid": 7 if running else 0,
        "ExitCode": exit_code, "StartedAt": started,
    }  # fmt: skip
    row: dict[str, Any] = {
        "Id": "c1", "Name": "/dcloud-x-e1", "Created": "2026-01-02T03:04:05.6Z", "State": state, "HostConfig": {},
        "Config": {"Labels": {"dcloud.env": "e1", "dcloud.token": "7", "dcloud.host": "h"}},
    }  # fmt: skip
    found = _found(row)
    assert found
    return found


@pytest.mark.parametrize("status", ["removing", "dead"])
def test_one_that_somebody_removes_is_lost_though_it_has_an_exit_code_already(status: str) -> None:
    found = inspected(status, exit_code=137)
    assert found.exit_code is None
    assert Endings(cast(Any, None))._why(found)[0] is Reason.CONTAINER_LOST


def test_one_that_is_there_with_an_exit_code_ended_by_itself() -> None:
    reason, message = Endings(cast(Any, None))._why(inspected("exited", exit_code=137))
    assert reason is Reason.CONTAINER_EXITED
    assert message.endswith("Exit code 137.")


def test_one_that_runs_or_never_ran_has_no_exit_code() -> None:
    assert inspected("running", running=True).exit_code is None
    assert inspected("created", started="0001-01-01T00:00:00Z").exit_code is None
