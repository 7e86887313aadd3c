"""The ledger: the path from a submit to a task that has begun, how well it uses a lab, and what a claim costs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ledger_fixtures import serving
from ledger_parts import PREFIX

from bench import claims, path, quality
from bench.report import Report
from common.ledger import Ledger
from common.settings import Settings

STREAMS = ("--stream-node-max-bytes", "1024")  # as `make run` sets Redis up


def run(report: Report, quick: bool) -> None:
    """All figures of the ledger."""
    with tempfile.TemporaryDirectory() as directory:
        path.run(report, Path(directory), quick)
        with serving("redis", Path(directory), *STREAMS) as url:
            ledger = Ledger.connect(Settings(redis_url=url, key_prefix=PREFIX))
            quality.run(report, ledger, quick)
            claims.run(report, ledger, quick)
            ledger.redis.close()
