"""A day of a lab, made from a seed: who asks for what, when, and for how long; and the hosts that it has."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ledger_parts import inventory

from common.inventory import Gpu, Inventory

HOURS = 3600.0
USERS = ("burst", *(f"user-{n}" for n in range(8)))
SIZES = {"CPU only": (0, 40), "1 GPU": (1, 30), "2 GPUs": (2, 12), "4 GPUs": (4, 12), "8 GPUs": (8, 6)}  # GPUs, share
MEAN_GPU_HOURS = 2.1  # of an environment of the trace, counted


@dataclass(frozen=True)
class Want:
    """One environment of the trace. Times are seconds since its begin."""

    number: int
    user: str
    size: str
    gpus: int
    cpu: int  # cores
    arrives: float
    runs: float
    lifetime: float  # what the user promises; 0 is no promise

    @property
    def ram_gib(self) -> int:
        return 4 * self.cpu


def lab() -> dict[str, Inventory]:
    """Four hosts of eight large GPUs, two of four smaller ones, four without any."""
    hosts = {}
    for i in range(4):
        gpus = tuple(Gpu(f"GPU-h{i}-{n}", "NVIDIA H200", 143_771, island=n // 4 + 1) for n in range(8))
        hosts[f"h200-{i}"] = inventory(gpus, 64_000, ram_mib=512 * 1024, storage_mib=10**7)
    for i in range(2):
        gpus = tuple(Gpu(f"GPU-a{i}-{n}", "NVIDIA A100", 81_920, island=1) for n in range(4))
        hosts[f"a100-{i}"] = inventory(gpus, 32_000, ram_mib=256 * 1024, storage_mib=10**7)
    for i in range(4):
        hosts[f"cpu-{i}"] = inventory((), 32_000, ram_mib=256 * 1024, storage_mib=10**7)
    return hosts


def day(hours: float, load: float = 0.95, seed: int = 7) -> list[Want]:
    """Arrivals over so many hours that ask for `load` of all GPU time. One user submits in bursts of thirty."""
    dice = random.Random(seed)
    gpus = sum(len(host.gpus) for host in lab().values())
    count = round(gpus * load * hours / MEAN_GPU_HOURS)
    bursts = [hours * HOURS * (0.1 + 0.2 * n) for n in range(5)]
    wants = []
    for number in range(count):
        size = dice.choices(list(SIZES), [share for _, share in SIZES.values()])[0]
        gpus_asked = SIZES[size][0]
        runs = min(max(dice.lognormvariate(0.1, 0.8) * HOURS, 300), 6 * HOURS)
        burst = number % 4 == 0 and number // 4 < 30 * len(bursts)
        arrives = bursts[(number // 4) // 30] if burst else dice.uniform(0, hours * HOURS)
        wants.append(Want(
            number, "burst" if burst else dice.choice(USERS[1:]), size, gpus_asked,
            4 * gpus_asked or dice.choice((1, 2, 4, 8)), arrives, runs, runs * 1.25 if dice.random() < 0.7 else 0,
        ))  # fmt: skip
    return sorted(wants, key=lambda want: want.arrives)
