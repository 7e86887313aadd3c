"""What a session says of a command that no program could say itself."""

from __future__ import annotations

from typing import Any, cast

import pytest

from workers.outcomes import farewell, unstarted

RUNC = b"OCI runtime exec failed: exec failed: unable to start container process: "


class Command:
    """A command as the engine knows it afterwards."""

    def __init__(self, *, started: bool = True, ran_out: bool = False):
        self.was_started = lambda: started
        self.ran_out = lambda: ran_out


def command(**known: bool) -> Any:
    return cast(Any, Command(**known))


@pytest.mark.parametrize(
    ("said", "sentence", "code"),
    [
        (
            b'exec: "x": executable file not found in $PATH: unknown',
            "There is no program 'x' in this environment.",
            127,
        ),
        (b'exec: "x": stat x: no such file or directory: unknown', "There is no program 'x' in this environment.", 127),
        (b'exec: "x": permission denied: unknown', "'x' cannot be run: it is no program, or its user", 126),
        (b"something new", "The engine of the host could not start 'x': OCI runtime", 126),
    ],
)
def test_what_was_never_started(said: bytes, sentence: str, code: int) -> None:
    found = unstarted(command(started=False), "x", RUNC + said)
    assert found
    assert found[0].startswith(sentence)
    assert found[1] == code


def test_a_program_may_write_what_the_engine_would() -> None:
    assert unstarted(command(), "x", RUNC + b"executable file not found") is None
    assert unstarted(command(started=False), "x", b"") is None


def test_only_what_the_kernel_killed_was_killed_by_it() -> None:
    assert "more RAM" in farewell(command(ran_out=True), 137)
    assert farewell(command(ran_out=True), 1) == ""
    assert farewell(command(), 137) == ""
