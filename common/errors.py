"""Every error that DCloud raises on purpose.

DCloudError                   something a person can act on; its text says what to do next
├── SettingsError             a setting is missing or makes no sense; the start is refused
├── ContractError             a contract with one or more problems, each with its path
├── RedisUnavailable          Redis does not answer, or cannot serve as the ledger
├── LedgerError               the ledger refused a call
│   ├── NotFound              no such environment, host or allocation
│   ├── IllegalTransition     the state table has no such step
│   ├── StaleToken            the allocation has moved on; the caller's token is spent
│   ├── Fenced                the host has a newer worker process; the caller must stop
│   ├── HostTaken             another live worker holds this host name
│   ├── NeverFits             no host could hold it even if it were empty, or its owner's quota is below it
│   ├── Changed               it is another version than the caller saw
│   └── Conflict              the same request id with another body
├── Unsuitable                what is there does not allow it
├── Taken                     there is one of that name already
├── TooMany                   asked too often; carries the seconds to wait
├── ProvisionError            a step on the host failed; carries a `Reason` for the user
└── ChannelError              a stream to a container
    ├── ChannelClosed         the other end has gone, refused, or never answered
    └── ChannelFull           the other end does not read; try again later
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from common.lines import escaped, masked


class DCloudError(Exception):
    """Something a person can act on; the text says what to do next."""


class SettingsError(DCloudError):
    """A setting is missing or makes no sense."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a document: `path` is dotted, as in `resources.ram`."""

    path: str
    message: str


class ContractError(DCloudError):
    """A contract that cannot be accepted. `problems` lists every one of them, with keys that can be printed."""

    def __init__(self, problems: list[Problem]):
        self.problems = [Problem(escaped(p.path), p.message) for p in problems]
        super().__init__("; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in self.problems))


class RedisUnavailable(DCloudError):
    """Redis does not answer, or cannot serve as the ledger."""


class LedgerError(DCloudError):
    """The ledger refused a call; nothing was written."""


class NotFound(LedgerError):
    """No such environment, host or allocation."""


class IllegalTransition(LedgerError):
    """The state table has no such step."""


class StaleToken(LedgerError):
    """The allocation has moved on; the caller's token is spent."""


class Fenced(LedgerError):
    """The host has a newer worker process; the caller must stop."""


class HostTaken(LedgerError):
    """Another live worker holds this host name."""


class NeverFits(LedgerError):
    """No host could hold it even if it were empty, or its owner's quota is below it. `nearest` is the largest that one
    host could hold within the quota, in the ledger's units, or None; `quota` names what is over that, "" is nothing."""

    def __init__(self, text: str):
        found = json.loads(text)
        self.nearest: dict[str, int] | None = found["nearest"]
        self.quota: str = found["quota"]
        over = f"It is over its owner's quota of {self.quota} by itself."
        super().__init__(over if self.quota else "No host of this installation could ever hold it.")


class Changed(LedgerError):
    """It is another version than the caller saw."""


class Conflict(LedgerError):
    """The same request id came with another body."""


class Unsuitable(DCloudError):
    """What is there does not allow it: the last admin, a token that was rotated."""


class Taken(DCloudError):
    """There is one of that name already."""


class TooMany(DCloudError):
    """Asked too often. `retry_after_seconds` is when it makes sense again."""

    def __init__(self, text: str, retry_after_seconds: int):
        self.retry_after_seconds = retry_after_seconds
        super().__init__(text)


class ProvisionError(DCloudError):
    """A step on the host failed.

    `reason` is a value of `common.states.Reason`; the text is for the user and `detail` (which
    may be long, an installer's explanation for instance) goes to the build log. Both may be what
    a program said, so passwords of indexes and proxies are taken out.
    """

    def __init__(self, reason: str, message: str, detail: str = ""):
        self.reason = reason
        self.detail = masked(detail)
        super().__init__(masked(message))


class ChannelError(DCloudError):
    """A stream to a container."""


class ChannelClosed(ChannelError):
    """The other end has gone, refused, or never answered."""


class ChannelFull(ChannelError):
    """The other end does not read; try again later."""
