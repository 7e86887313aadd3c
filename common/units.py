"""Sizes, cores and durations as people write them, in the integers that the ledger counts.

RAM and storage become MiB, CPU becomes milli (1000 = one core), durations become seconds;
all are rounded upward, so that nobody is given less than they asked for.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

MIB = 1024 * 1024

_BYTES = {
    "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
    "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40,
}  # fmt: skip
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)"
_SIZE = re.compile(_NUMBER + r" ?([A-Za-z]{1,3})", re.ASCII)
_CPU = re.compile(_NUMBER + r"(m?)", re.ASCII)
_DURATION_PART = re.compile(_NUMBER + r"([smhdw])", re.ASCII)


def size_mib(text: str) -> int:
    """MiB of `"8GB"` (powers of 1000), `"8GiB"` or `"8G"` (powers of 1024), rounded upward.

    Raises ValueError with a sentence that says what is accepted.
    """
    match = _SIZE.fullmatch(text)
    unit = _BYTES.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise ValueError(
            "is not a size. Write a number and a unit: B, KB, MB, GB, TB (powers of 1000), "
            "or KiB, MiB, GiB, TiB, K, M, G, T (powers of 1024), as in 8GB"
        )
    return _ceil(Decimal(match[1]) * unit / MIB)


def cpu_milli(text: str) -> int:
    """Thousandths of a core of `"2"`, `"0.5"` or `"500m"`, rounded upward. Raises ValueError."""
    match = _CPU.fullmatch(text)
    if match is None:
        raise ValueError("is not a number of cores. Write cores, as in 2 or 0.5, or thousandths, as in 500m")
    return _ceil(Decimal(match[1]) * (1 if match[2] else 1000))


def duration_seconds(text: str) -> int:
    """Seconds of `"8h"`, `"90m"`, `"1d12h"`, rounded upward. Raises ValueError."""
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ValueError("is not a duration. Write a number and s, m, h, d or w, as in 8h or 1d12h")
    return _ceil(sum((Decimal(number) * _SECONDS[unit] for number, unit in parts), Decimal(0)))


def human_mib(mib: int) -> str:
    """`1536` → `"1.5 GiB"`."""
    for unit, factor in (("TiB", 2**20), ("GiB", 2**10)):
        if mib >= factor:
            return f"{mib / factor:.3g} {unit}"
    return f"{mib} MiB"


def human_cpu(milli: int) -> str:
    """`1500` → `"1.5"` cores."""
    return f"{milli / 1000:g}"


def _ceil(value: Decimal) -> int:
    return int(value.to_integral_value(rounding=ROUND_CEILING))
