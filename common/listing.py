"""Environments by what their records say, a page at a time, newest first; of what is shown alone contracts are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from common.connection import translated
from common.environment import Environment
from common.ledger import Ledger
from common.states import State

LOOKED_AT = 2000  # records that one look goes through, so that none holds up its caller for long
_FIELDS = ("name", "owner", "host", "state")


@dataclass(frozen=True)
class Row:
    """What an environment is found by."""

    id: str
    name: str
    owner: str
    host: str  # "" while it waits for the first time
    state: State


@dataclass(frozen=True)
class Page:
    """One page, and the id before which the next one begins ("" at the end)."""

    environments: list[Environment]
    older: str
    looked_at: int  # records
    cut: bool  # it ended because of LOOKED_AT, perhaps before it was full


Wanted = Callable[[Row], bool]


class Listing:
    """The environments of one owner, or of everyone where `owner` is None, that are `wanted`."""

    def __init__(self, ledger: Ledger, owner: str | None, wanted: Wanted):
        self._ledger = ledger
        self._index = ledger.keys.environments(owner)
        self._wanted = wanted

    def page(self, most: int, before: str = "") -> Page:
        """The newest `most` of those that are older than the id `before`. Raises RedisUnavailable."""
        found: list[str] = []
        looked_at, last = 0, ""
        for row in self._rows(f"({before}" if before else "+", most + 1):
            if looked_at == LOOKED_AT:
                return Page(self._whole(found), last, looked_at, True)
            looked_at, last = looked_at + 1, row.id
            if not self._wanted(row):
                continue
            if len(found) == most:
                return Page(self._whole(found), found[-1], looked_at, False)
            found.append(row.id)
        return Page(self._whole(found), "", looked_at, False)

    def newer(self, most: int, since: str) -> str:
        """The id before which the page begins that ends with `since`; "" where that is the first page."""
        found = 0
        for looked_at, row in enumerate(self._rows(f"[{since}", most + 1, newest_first=False)):
            found += self._wanted(row)
            if found > most or looked_at == LOOKED_AT:
                return row.id
        return ""

    def _whole(self, ids: list[str]) -> list[Environment]:
        known = self._ledger.several(ids)
        return [known[env_id] for env_id in ids if env_id in known]

    def _rows(self, edge: str, count: int, *, newest_first: bool = True) -> Iterator[Row]:
        """Away from `edge`, read `count` at a time."""
        redis, keys = self._ledger.redis, self._ledger.keys
        while True:
            with translated():
                if newest_first:
                    ids = cast(list[str], redis.zrevrangebylex(self._index, edge, "-", start=0, num=count))
                else:
                    ids = cast(list[str], redis.zrangebylex(self._index, edge, "+", start=0, num=count))
                pipe = redis.pipeline(transaction=False)
                for env_id in ids:
                    pipe.hmget(keys.environment(env_id), _FIELDS)
                records: list[Any] = pipe.execute()
            for env_id, (name, owner, host, state) in zip(ids, records, strict=True):
                if state is not None:
                    yield Row(env_id, name, owner, host, State(state))
            if len(ids) < count:
                return
            edge = f"({ids[-1]}"
