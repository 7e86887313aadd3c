"""A whole installation for a test: a worker on the real engine beside the served API."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

from common.settings import Settings
from workers.provision import Host

DATA = Path(os.environ.get("DCLOUD_TEST_DATA") or Path(__file__).parents[2] / "var" / "test-data").resolve()


class Worker:
    """The worker of a host of its own, until `end`."""

    def __init__(self, redis_url: str, log: Path):
        self.name = f"lab-{secrets.token_hex(4)}"
        self.env = {
            "DCLOUD_REDIS_URL": redis_url,
            "DCLOUD_DATA_DIR": str(DATA),
            "DCLOUD_HOST_NAME": self.name,
            "DCLOUD_CAPACITY_CPU": "4",
            "DCLOUD_CAPACITY_RAM": "4GiB",
            "DCLOUD_CAPACITY_STORAGE": "4GiB",
            "DCLOUD_HEARTBEAT_SECONDS": "1",
            "DCLOUD_LEASE_SECONDS": "5",
            "DCLOUD_SWEEP_SECONDS": "1",
        }
        self.log = log
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers"], env={**os.environ, **self.env}, stdout=output, stderr=output
            )

    def die(self) -> None:
        """As in a power cut of its process."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Stop it, and remove what its host still has."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=60)
        host = Host(Settings.from_env(self.env))
        until = time.monotonic() + 20
        while found := {c.env_id for c in host.containers()} | set(host.volumes()):
            for env_id in found:
                host.remove(env_id)
            assert time.monotonic() < until, found
        host.teardown()
        host.close()
