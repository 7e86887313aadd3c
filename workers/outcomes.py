"""What became of a command, in words, where no program could say it itself."""

from __future__ import annotations

from workers.execution import Exec

# The engine writes it where the command's output would be.
REFUSAL = b"OCI runtime exec failed: "
MISSING = (b"executable file not found", b"no such file or directory")

NO_SUCH_PROGRAM = 127  # as shells have it
NOT_RUNNABLE = 126
KILLED = 137


def unstarted(running: Exec, program: str, said: bytes) -> tuple[str, int] | None:
    """The sentence and exit code of a command that could not even be started; `said` is the first of its output.

    None where it was started: a program may write what it likes.
    """
    if not said.startswith(REFUSAL) or running.was_started():
        return None
    if any(words in said for words in MISSING):
        return f"There is no program {program!r} in this environment.", NO_SUCH_PROGRAM
    if b"permission denied" in said:
        return f"{program!r} cannot be run: it is no program, or its user may not execute it.", NOT_RUNNABLE
    text = said.decode(errors="replace").strip()
    return f"The engine of the host could not start {program!r}: {text}", NOT_RUNNABLE


def farewell(running: Exec, code: int) -> str:
    """What is to be said of a command that has ended, "" where its exit code says all."""
    if code == KILLED and running.ran_out():
        return "The kernel killed a program here that used more RAM than the contract allows."
    return ""
