"""The parts that handlers work with, one set an application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app
from redis import Redis

from api.apart import apart
from api.feed import Feed
from api.openings import Openings
from api.patience import Patience
from api.pool import OrderlyPool
from api.provider import Provider
from api.together import Together
from common.accounts import Accounts
from common.attempts import Attempts
from common.audit import AuditLog
from common.buildlog import BuildLog
from common.channel import BLOCK_SECONDS
from common.identities import Identities
from common.keys import Keys
from common.ledger import Ledger
from common.pending import Pending
from common.rates import Rates
from common.sessions import Sessions
from common.settings import Settings
from common.stats import Stats
from common.templates import Templates
from common.webhooks import Webhooks

CONNECTIONS = 64
CONNECT_SECONDS = 1.0


@dataclass(frozen=True)
class Services:
    """What an application holds for as long as its process lives."""

    settings: Settings
    ledger: Ledger
    together: Together
    accounts: Accounts
    sessions: Sessions
    attempts: Attempts
    identities: Identities
    provider: Provider | None  # None where nobody but us signs people in
    sign_ins: Pending  # of browsers that are at the provider
    devices: Pending  # of commands that wait for it
    audit: AuditLog
    rates: Rates
    openings: Openings
    build_log: BuildLog
    stats: Stats
    templates: Templates
    webhooks: Webhooks
    bytes_redis: Redis  # for channels; decodes nothing
    feed: Feed

    @property
    def keys(self) -> Keys:
        return self.ledger.keys


def make(settings: Settings) -> Services:
    """Services for `settings`. Nothing connects yet, so that the API starts while Redis is away."""
    text = _client(settings, decode=True)
    ledger = Ledger(text, settings.key_prefix)
    together = Together(text.connection_pool)
    accounts = Accounts(text, ledger.keys, apart, together.several)
    return Services(
        settings=settings,
        ledger=ledger,
        together=together,
        accounts=accounts,
        sessions=Sessions(text, ledger.keys, accounts),
        attempts=Attempts(text, ledger.keys),
        identities=Identities(text, ledger.keys, accounts),
        provider=Provider(settings) if settings.oidc_issuer else None,
        sign_ins=Pending(text, ledger.keys, "sign-in"),
        devices=Pending(text, ledger.keys, "device"),
        rates=Rates(text, ledger.keys, settings.rate_limit),
        openings=Openings(settings.stream_limit),
        audit=AuditLog(text, ledger.keys, settings.var_dir / "log"),
        build_log=BuildLog(text, ledger.keys),
        stats=Stats(text, ledger.keys),
        templates=Templates(text, ledger.keys),
        webhooks=Webhooks(text, ledger.keys),
        bytes_redis=_client(settings, decode=False, blocks_seconds=BLOCK_SECONDS),
        feed=Feed(text, ledger.keys),
    )


def services() -> Services:
    """The services of the application that handles the current request."""
    return cast(Services, current_app.extensions["dcloud"])


def _client(settings: Settings, *, decode: bool, blocks_seconds: float = 0.0) -> Redis:
    """A client of a pool of its own, with commands that block for at most `blocks_seconds`."""
    once = settings.redis_seconds / 2  # each question is asked twice
    pool = OrderlyPool.from_url(
        settings.redis_url,
        max_connections=CONNECTIONS,
        decode_responses=decode,
        socket_timeout=once + blocks_seconds,
        socket_connect_timeout=min(once, CONNECT_SECONDS),
        retry=Patience(),
    )
    return Redis(connection_pool=pool)
