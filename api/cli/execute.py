"""`dcloud exec`: a command inside an environment, as if it ran here."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator

import click

from api.cli import output
from api.cli.connection import connect, resolve
from api.cli.environments import environment
from api.client import INPUT_BYTES, ApiError, Client, Unreachable

INTERRUPTED = 130
LOST = 5
ENDED = (404, 410)
SHELL = ("bash",)


@click.command(name="exec", context_settings={"ignore_unknown_options": True})
@environment
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--no-tty", "-T", is_flag=True, help="No terminal inside, even where this is one.")
def execute(environment: str, command: tuple[str, ...], no_tty: bool) -> None:
    """Run COMMAND inside ENV (a shell by default); ends with its exit code. Write -- before COMMAND."""
    client = connect()
    env_id = resolve(client, environment)
    interactive = sys.stdin.isatty() and sys.stdout.isatty() and not no_tty
    size = _size()
    channel = client.exec(env_id, list(command or SHELL), tty=interactive, rows=size.lines, cols=size.columns)
    session = _Session(client, channel)
    with _raw_terminal(session) if interactive else contextlib.nullcontext():
        code = session.run()
    sys.exit(code)


def _size() -> os.terminal_size:
    """The terminal's own; LINES and COLUMNS, where they are exported, say what it was once."""
    try:
        return os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return shutil.get_terminal_size()


class _Session:
    """Two directions at once: a thread prints what comes, the main thread sends what is typed."""

    def __init__(self, client: Client, channel: str):
        self._client = client
        self._channel = channel
        self._wake_read, self._wake_write = os.pipe()
        self._code: int | None = None
        self._message = ""
        self._resized = False
        self._seq = 0
        self._reader_gone = False  # whoever read our output has closed it, as `head` does

    def run(self) -> int:
        """Until the command ends; its exit code."""
        threading.Thread(target=self._print, daemon=True).start()
        try:
            self._type()
        except KeyboardInterrupt:
            self._hang_up()
            return INTERRUPTED
        if self._reader_gone:
            self._hang_up()
            # What could not be written is still in the buffer, and Python would complain of it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if self._message:
            output.refusal(self._message)
        return LOST if self._code is None else self._code

    def resized(self, *_: object) -> None:
        """The terminal has another size now."""
        self._resized = True
        os.write(self._wake_write, b"r")

    def _print(self) -> None:
        try:
            for entry in self._client.output(self._channel):
                if entry["kind"] == "out":
                    sys.stdout.buffer.write(entry["data"])
                    sys.stdout.buffer.flush()
                elif entry["kind"] == "exit":
                    self._code = entry["code"]
                elif entry["kind"] == "error":
                    self._message = entry["message"]
        except (ApiError, Unreachable) as error:
            self._message = str(error)
        except BrokenPipeError:
            self._reader_gone = True
        os.write(self._wake_write, b"e")

    def _type(self) -> None:
        sources = [self._wake_read, sys.stdin.fileno()]
        while True:
            ready, _, _ = select.select(sources, [], [])
            if self._wake_read in ready and b"e" in os.read(self._wake_read, 64):
                return
            try:
                if self._resized:
                    self._resized = False
                    size = _size()
                    self._client.resize(self._channel, self._next(), size.lines, size.columns)
                if sys.stdin.fileno() in ready:
                    data = os.read(sys.stdin.fileno(), INPUT_BYTES)
                    self._client.write(self._channel, self._next(), data)
                    sources = sources if data else [self._wake_read]
            except (ApiError, Unreachable) as error:
                if isinstance(error, ApiError) and error.status in ENDED:
                    sources = [self._wake_read]  # the thread that prints knows how
                    continue
                self._message = str(error)  # rather than going on without what was typed
                self._hang_up()
                return

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _hang_up(self) -> None:
        with contextlib.suppress(ApiError, Unreachable):
            self._client.hang_up(self._channel)


@contextlib.contextmanager
def _raw_terminal(session: _Session) -> Iterator[None]:
    before = termios.tcgetattr(sys.stdin)
    previous = signal.signal(signal.SIGWINCH, session.resized)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, previous)
