"""The audit log: who did what to what, when, from where, and what came of it. Never a secret.

  audit               stream  newest MOST_IN_REDIS entries: e = the entry as JSON
  var/log/audit.jsonl         all of them, a JSON object a line; one that is full is set aside under its time, and
                              removing those is for whoever runs the machine

JSON escapes line breaks and control characters, and ASCII alone is written, so that nothing that somebody typed can
look like an entry of its own.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from redis import Redis, RedisError

from common.keys import Keys

log = logging.getLogger(__name__)

MOST_IN_REDIS = 50_000
FILE_BYTES = 20_000_000
LOOKED_AT = 2000  # entries that one page looks through for those that are wanted
LONGEST = 200  # characters of one value


@dataclass(frozen=True)
class Entry:
    """One thing that was done."""

    action: str  # the endpoint, as in users.create
    user: str  # who, "" is nobody that we know
    target: str = ""  # what it was done to
    status: int = 0  # HTTP's, of the answer
    token: str = ""  # id of the API token; "" is a session, or nobody
    address: str = ""
    request: str = ""  # id of the request, as in X-Request-Id
    details: dict[str, Any] = field(default_factory=dict)
    at: str = ""  # ISO 8601, UTC


def now() -> str:
    """The time as entries have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class AuditLog:
    """Where entries go, and where admins read them. `redis` decodes responses."""

    def __init__(self, redis: Redis, keys: Keys, directory: Path):
        self._redis = redis
        self._keys = keys
        self.file = directory / "audit.jsonl"

    def write(self, entry: Entry, *, redis: bool = True) -> None:
        """Keep an entry. What is done is done: where a place cannot be written to, the log says so, and no error comes.

        `redis` False leaves it at the file, for when Redis is known to be away.
        """
        line = _line(entry)
        self.file_away(line)
        if redis:
            try:
                self._redis.xadd(self._keys.audit(), {"e": line}, maxlen=MOST_IN_REDIS, approximate=True)
            except RedisError as error:
                log.error("the audit log in Redis cannot be written: %s", error)

    def file_away(self, line: str) -> None:
        """Keep in the file a line that `beside` gave, and that Redis has already."""
        try:
            self._append(line.encode("ascii") + b"\n")
        except OSError as error:
            log.error("the audit log %s cannot be written: %s", self.file, error)

    def beside(self, entry: Entry) -> tuple[str, int, str]:
        """An entry for who writes to Redis anyway: the stream, how many entries it has, the line of this one."""
        return self._keys.audit(), MOST_IN_REDIS, _line(entry)

    def page(self, before: str = "", limit: int = 50, user: str = "", action: str = "") -> tuple[list[Entry], str]:
        """Entries before the stream id `before` ("" is the end), newest first, and where the next page begins."""
        found: list[Entry] = []
        upper, looked = f"({before}" if before else "+", 0
        while looked < LOOKED_AT:
            entries = cast(
                list[tuple[str, dict[str, str]]], self._redis.xrevrange(self._keys.audit(), upper, "-", count=limit)
            )
            for entry_id, fields in entries:
                entry, looked, upper = Entry(**json.loads(fields["e"])), looked + 1, f"({entry_id}"
                if user in ("", entry.user) and action in ("", entry.action):
                    found.append(entry)
                    if len(found) == limit:
                        return found, entry_id
            if len(entries) < limit:
                return found, ""
        return found, upper[1:]

    def _append(self, line: bytes) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)  # one call: lines of several processes do not mix
            full = os.fstat(descriptor).st_size > FILE_BYTES
        finally:
            os.close(descriptor)
        if full:
            self.file.replace(self.file.with_name(f"audit-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.jsonl"))


def _line(entry: Entry) -> str:
    values = {name: _short(value) for name, value in vars(entry).items() if name != "at"}
    return json.dumps({"at": entry.at or now(), **values})


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key)[:LONGEST]: _short(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_short(inner) for inner in value[:LONGEST]]
    return value[:LONGEST] if isinstance(value, str) else value
