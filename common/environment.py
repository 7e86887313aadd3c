"""An environment as the ledger knows it, and the events of its history."""

from __future__ import annotations

from dataclasses import dataclass

from common.contract import Contract
from common.states import State


@dataclass(frozen=True)
class Environment:
    """One environment, from submit to deletion. Times are seconds since the epoch by Redis' clock."""

    id: str
    name: str
    owner: str
    state: State
    contract: Contract
    progress: int  # 0 to 100; 100 is running
    phase: str  # a `common.states.Phase` while it is being made, else ""
    message: str  # one line for its user
    reason: str  # a `common.states.Reason` where it failed, stopped or went back to the queue, else ""
    host: str  # "" while it waits for the first time
    gpus: tuple[str, ...]  # UUIDs
    token: int  # of its allocation; 0 where it has none
    attempt: int  # 1 at the first claim
    position: int | None  # 1 is the next of those that wait for the same shape; None where it does not wait
    revision: int  # rises with every change; the ETag
    created_at: float
    updated_at: float
    started_at: float | None  # when it last came to run
    expires_at: float | None  # when its lifetime ends


@dataclass(frozen=True)
class Event:
    """One step of an environment's history. `id` orders and resumes: it is the Redis stream id."""

    id: str
    at: float
    state: State
    progress: int
    phase: str
    message: str
    reason: str
    host: str


@dataclass(frozen=True)
class Job:
    """A claimed environment as its host gets it: what to make, with which GPUs (UUIDs), under which token."""

    id: str
    name: str
    owner: str
    token: int
    attempt: int
    contract: Contract
    gpus: tuple[str, ...]
    has_storage: bool = False  # it ran before and its files are on this host
    origin: str = ""  # id of the HTTP request that submitted it, for logs
