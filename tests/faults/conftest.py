"""What tests with faults share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from common.ledger import client_of


@pytest.fixture
def env(redis_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a worker process."""
    root = Path(__file__).parents[2]
    return {
        **os.environ, "DCLOUD_REDIS_URL": redis_url, "DCLOUD_KEY_PREFIX": "test", "DCLOUD_DATA_DIR": str(tmp_path),
        "DCLOUD_HOST_NAME": "noop", "DCLOUD_SWEEP_SECONDS": "1", "PYTHONPATH": f"{root}:{root / 'tests'}",
    }  # fmt: skip


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with client_of(redis_url, timeout_seconds=30) as client:
        yield client
