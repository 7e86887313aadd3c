"""Amounts and times in words, for whoever reads them: the pages, the command, a problem's text."""

from __future__ import annotations

from common import units
from common.contract import Gpus, Resources


def cores(milli: int) -> str:
    """`1000` → `"1 core"`."""
    return f"{units.human_cpu(milli)} {'core' if milli == 1000 else 'cores'}"


def gpu_words(gpus: Gpus) -> str:
    """`Gpus(2, "H200")` → `"2 × H200"`."""
    if not gpus.count:
        return "no GPU"
    kind = f"{gpus.count} × {gpus.model}" if gpus.model else need(gpus.count, "gpus")
    return kind + (f" with {units.human_mib(gpus.memory_mib)}" if gpus.memory_mib else "")


def duration(seconds: float) -> str:
    """`5400` → `"1 h 30 min"`, to two parts."""
    parts, left = [], int(seconds)
    for name, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


def need(amount: float, what: str) -> str:
    """An amount of what the ledger counts: `need(1500, "cpu_milli")` → `"1.5 cores"`."""
    match what:
        case "cpu_milli":
            return f"{cores(int(amount))}"
        case "ram_mib" | "storage_mib":
            return f"{units.human_mib(int(amount))} {'RAM' if what == 'ram_mib' else 'storage'}"
    return f"{int(amount)} {'GPU' if amount == 1 else 'GPUs'}"


def difference(before: Resources, after: Resources) -> str:
    """What `after` has otherwise: `"1 × H200 and 15.6 GiB RAM"`."""
    words = (
        (before.gpus != after.gpus, gpu_words(after.gpus)),
        (before.cpu_milli != after.cpu_milli, cores(after.cpu_milli)),
        (before.ram_mib != after.ram_mib, need(after.ram_mib, "ram_mib")),
        (before.storage_mib != after.storage_mib, need(after.storage_mib, "storage_mib")),
    )
    return " and ".join(said for changed, said in words if changed)
