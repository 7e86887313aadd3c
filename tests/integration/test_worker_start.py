"""A worker that cannot start says why in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DCLOUD_REDIS_URL", "", "DCLOUD_REDIS_URL is not set"),
        ("DCLOUD_HOST_NAME", "a b", "DCLOUD_HOST_NAME is 'a b'"),
    ],
)
def test_a_wrong_setting_ends_it_with_a_sentence(variable: str, value: str, said: str) -> None:
    env = {**os.environ, "DCLOUD_REDIS_URL": "redis://127.0.0.1:1", variable: value}
    done = subprocess.run(
        [sys.executable, "-m", "workers"], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"The worker does not start: {said}")
