"""Several environments at once: each has a line of its own, and one that cannot be done holds up no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from api.cli import output
from api.cli.connection import resolve
from api.cli.exits import code_of
from api.client import Client, Environment, Unreachable
from common.errors import DCloudError

environments = click.argument("environments", metavar="ENV...", nargs=-1, required=True)


class Several:
    """The environments that `words` name, each once. One alone is as any other call: its error is the command's."""

    def __init__(self, client: Client, words: tuple[str, ...]):
        self.code = 0  # of the first error
        self.alone = len(words) == 1
        self._words: dict[str, str] = {}  # by id
        for word in words:
            with self._told(word):
                self._words.setdefault(resolve(client, word), word)

    def each(self, call: Callable[[str], Environment], show: Callable[[Environment], None]) -> list[Environment]:
        """Call with each id and show what that gave. Who met an error is told of it, and is none of these any more.

        Raises Unreachable: without the server nothing can be done with the rest.
        """
        done = []
        for env_id, word in list(self._words.items()):
            del self._words[env_id]
            with self._told(word):
                found = call(env_id)
                self._words[env_id] = word
                done.append(found)
                show(found)
        return done

    @contextmanager
    def _told(self, word: str) -> Iterator[None]:
        try:
            yield
        except Unreachable:
            raise
        except DCloudError as error:
            if self.alone:
                raise
            output.refusal(f"{word}: {error}")
            self.code = self.code or code_of(error)
