"""What tests of the ledger are made of: contracts, inventories, and a host that makes a worker's steps."""

from __future__ import annotations

from typing import Any

from common import contract
from common.environment import Job
from common.inventory import Gpu, Host, Inventory
from common.ledger import Ledger
from common.states import Reason, State

PREFIX = "test"
A100 = tuple(Gpu(f"GPU-{i}", "NVIDIA A100-SXM4-80GB", 81920, island=i // 2 + 1) for i in range(4))


def inventory(gpus: tuple[Gpu, ...] = (), cpu_milli: int = 8000, machine: str = "m", **what: Any) -> Inventory:
    """A host of 8 cores, 16,000 MiB of RAM and 100,000 MiB of storage, unless told otherwise."""
    return Inventory(
        **{"ram_mib": 16_000, "storage_mib": 100_000, **what, "cpu_milli": cpu_milli}, gpus=gpus, machine=machine
    )


def wants(priority: int = 5, lifetime: str = "", wait: bool = False, **resources: str) -> contract.Contract:
    """A contract for 1 core, 1 GiB of RAM and 1 GiB of storage, unless told otherwise."""
    needs = {"cpu": "1", "ram": "1GiB", "storage": "1GiB"} | resources
    return contract.parse({"resources": needs, "priority": priority, "lifetime": lifetime, "wait": wait})


class OneHost:
    """A registered host and the steps that a worker makes on it."""

    def __init__(self, ledger: Ledger, name: str = "h1", instance: str = "", lease_seconds: float = 40, **what: Any):
        self.ledger, self.name = ledger, name
        self.epoch = ledger.register(name, instance or f"instance-{name}", lease_seconds, inventory(**what))

    def claim(self) -> Any:
        return self.ledger.claim(self.name, self.epoch)

    def build(self, job: Job) -> None:
        self.ledger.advance(self.name, self.epoch, job, State.BUILDING, progress=5, message="")

    def run(self, job: Job) -> None:
        for state, progress in ((State.BUILDING, 5), (State.STARTING, 90), (State.RUNNING, 100)):
            self.ledger.advance(self.name, self.epoch, job, state, progress=progress, message="")

    def release(self, job: Job, state: State, **kwargs: Any) -> None:
        self.ledger.release(
            self.name, self.epoch, job.id, job.token, state, reason=Reason.USER_REQUEST, message="", **kwargs
        )

    def end(self, env_id: str) -> None:
        """Delete an environment and remove it here."""
        self.ledger.delete(env_id)
        self.release(self.ledger.job(env_id), State.DELETED)

    def stop(self, env_id: str) -> None:
        """Stop a running environment; its storage stays."""
        self.ledger.stop(env_id)
        self.release(self.ledger.job(env_id), State.STOPPED)

    @property
    def woken(self) -> bool:
        """Whether the host would look at the queue at once; forgets it."""
        return self.ledger.redis.delete(self.ledger.keys.wake(self.name)) == 1

    @property
    def view(self) -> Host:
        return next(host for host in self.ledger.hosts() if host.name == self.name)


def lose(ledger: Ledger, *names: str) -> None:
    """Let hosts fall silent for longer than their lease, and the ledger notice."""
    for name in names:
        ledger.redis.zadd(ledger.keys.hosts(), {name: 1})
    while ledger.expire():
        pass
