"""A host of our own on the real engine. Its data directory is kept, so that base images and wheels are there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest
from lab import DATA, Lab

from common.settings import Settings
from workers.provision import Host


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Of a host that nobody else on this machine is."""
    prefix = f"test-{os.getpid()}-{secrets.token_hex(3)}"
    return Settings(redis_url="redis://127.0.0.1:1", key_prefix=prefix, host_name=prefix, data_dir=DATA)


@pytest.fixture(scope="session")
def host(settings: Settings) -> Iterator[Host]:
    """The host; at the end its bridge and rules are gone as well."""
    host = Host(settings)
    yield host
    for env_id in {found.env_id for found in host.containers()} | set(host.volumes()):
        host.remove(env_id)
    host.teardown()
    host.close()


@pytest.fixture
def lab(host: Host) -> Iterator[Lab]:
    """Environments that are gone at the end of the test."""
    lab = Lab(host)
    yield lab
    lab.clear()


@pytest.fixture(scope="module")
def shared_lab(host: Host) -> Iterator[Lab]:
    """Environments that the tests of a module share."""
    lab = Lab(host)
    yield lab
    lab.clear()
