"""The ledger: what a claim costs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ledger_fixtures import serving
from ledger_parts import PREFIX

from bench import claims
from bench.report import Report
from common.ledger import Ledger
from common.settings import Settings


def run(report: Report, quick: bool) -> None:
    """All figures of the ledger."""
    with tempfile.TemporaryDirectory() as directory, serving("redis", Path(directory)) as url:
        ledger = Ledger.connect(Settings(redis_url=url, key_prefix=PREFIX))
        claims.run(report, ledger, quick)
        ledger.redis.close()
