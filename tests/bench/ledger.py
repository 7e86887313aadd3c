"""The ledger: what a claim costs, and the whole path from a submit to a task that has begun."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ledger_fixtures import serving
from ledger_parts import PREFIX

from bench import claims, path
from bench.report import Report
from common.ledger import Ledger
from common.settings import Settings


def run(report: Report, quick: bool) -> None:
    """All figures of the ledger."""
    with tempfile.TemporaryDirectory() as directory:
        path.run(report, Path(directory), quick)
        with serving("redis", Path(directory)) as url:
            ledger = Ledger.connect(Settings(redis_url=url, key_prefix=PREFIX))
            claims.run(report, ledger, quick)
            ledger.redis.close()
