"""The tier that needs a real card: run only where it is named, `pytest tests/gpu`, on a machine that has one."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.append(str(HERE.with_name("docker")))  # its laboratory serves here too

from lab import DATA, Lab  # noqa: E402

from common.settings import Settings  # noqa: E402
from workers.provision import Host  # noqa: E402


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave the tier out where nobody asked for it."""
    asked = (Path(argument.partition("::")[0]).resolve() for argument in config.args)
    return None if any(path.is_relative_to(HERE) for path in asked) else True


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A host of our own on the real engine, and environments that are gone at the end of the test."""
    name = f"test-{os.getpid()}-{secrets.token_hex(3)}"
    host = Host(Settings(redis_url="redis://127.0.0.1:1", key_prefix=name, host_name=name, data_dir=DATA))
    lab = Lab(host)
    yield lab
    lab.clear()
    host.teardown()
    host.close()
