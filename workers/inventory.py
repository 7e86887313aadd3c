"""What this host has to give out, as its settings or the machine say."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from common import units
from common.errors import SettingsError
from common.inventory import Inventory, Offer
from common.settings import Settings
from common.units import MIB
from workers.cards import Cards
from workers.volumes import Volumes

RAM_KEPT_MIB = 1024  # for the host itself
STORAGE_SHARE = 0.8  # of what is free


def gather(
    settings: Settings, engine_version: str, cards: Cards, volumes: Volumes, offers: tuple[Offer, ...] = ()
) -> Inventory:
    """The inventory now. Raises SettingsError where a capacity cannot be read."""
    driver = cards.driver()
    storage_limit, notes = _storage_limit(volumes)
    notes += tuple(f"GPU {gpu.uuid} is not given out: {cards.why(gpu)}." for gpu in driver.gpus if not gpu.healthy)
    return Inventory(
        cpu_milli=_capacity("DCLOUD_CAPACITY_CPU", settings.capacity_cpu, units.cpu_milli, _cpu_milli),
        ram_mib=_capacity("DCLOUD_CAPACITY_RAM", settings.capacity_ram, units.size_mib, _ram_mib),
        storage_mib=_capacity(
            "DCLOUD_CAPACITY_STORAGE",
            settings.capacity_storage,
            units.size_mib,
            lambda: _storage_mib(settings.data_dir, volumes.taken_bytes()),
        ),
        gpus=driver.gpus,
        driver=driver.version,
        cuda=driver.cuda,
        engine=engine_version,
        machine=_machine(settings.data_dir),
        storage_limit=storage_limit,
        notes=notes,
        offers=offers,
    )


def _capacity(name: str, text: str, convert: Callable[[str], int], default: Callable[[], int]) -> int:
    if not text:
        return default()
    try:
        return convert(text)
    except ValueError as error:
        raise SettingsError(f"{name}: {text!r} {error}.") from None


def _cpu_milli() -> int:
    return len(os.sched_getaffinity(0)) * 1000


def _ram_mib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return max(0, int(line.split()[1]) // 1024 - RAM_KEPT_MIB)
    return 0


def _storage_mib(data_dir: Path, taken_bytes: int) -> int:
    """Free now, and what our own volumes have taken already: those are counted as allocations."""
    return int((shutil.disk_usage(data_dir).free + taken_bytes) * STORAGE_SHARE) // MIB


def _storage_limit(volumes: Volumes) -> tuple[str, tuple[str, ...]]:
    if storage := volumes.storage():
        return storage.name, ()
    return "", (f"Storage cannot be limited, so environments are not claimed. {' '.join(volumes.missing())}",)


def _machine(data_dir: Path) -> str:
    for path in (Path("/etc/machine-id"), data_dir / "machine-id"):
        text = path.read_text().strip() if path.exists() else ""
        if text:
            return text
    made = secrets.token_hex(16)
    (data_dir / "machine-id").write_text(f"{made}\n")
    return made
