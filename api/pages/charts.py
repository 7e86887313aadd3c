"""Charts of what an environment used over the last hour, as lines of an SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from api.amounts import cores
from common import units
from common.contract import Resources
from common.stats import INTERVAL_SECONDS, Sample, Use

WIDTH, HEIGHT = 300, 60
SPAN_SECONDS = 3600.0
GAP_SECONDS = 3.5 * INTERVAL_SECONDS  # a longer silence is no line


@dataclass(frozen=True)
class Chart:
    """One resource: what it is now, of how much, and the lines of SVG paths that show how it was."""

    title: str
    now: str
    limit: str
    lines: tuple[str, ...]
    areas: tuple[str, ...]


def charts(samples: Sequence[Sample], allowed: Resources) -> list[Chart]:
    """A chart for each resource that the environment has; none where nothing was measured."""
    if not samples:
        return []
    found = [
        _chart("CPU", samples, lambda use: use.cpu_milli, allowed.cpu_milli, _cores),
        _chart("RAM", samples, lambda use: use.ram_bytes, allowed.ram_mib * units.MIB, _bytes),
        _chart("Storage", samples, lambda use: use.storage_bytes, allowed.storage_mib * units.MIB, _bytes),
    ]
    if any(gpu.busy_percent is not None for sample in samples for gpu in sample.use.gpus):
        found.append(_chart("GPU", samples, _busy, 100, lambda percent: f"{percent:.0f} %"))
    if any(sample.use.gpus for sample in samples):
        most = max(_gpu_bytes(sample.use) for sample in samples)
        found.append(_chart("GPU memory", samples, _gpu_bytes, most, _bytes, limited=False))
    return found


def _chart(
    title: str,
    samples: Sequence[Sample],
    value: Callable[[Use], float],
    most: float,
    words: Callable[[float], str],
    limited: bool = True,
) -> Chart:
    end = samples[-1].at
    top = max(most, *(value(sample.use) for sample in samples), 1)
    runs: list[list[tuple[float, float]]] = []
    before = -GAP_SECONDS
    for sample in samples:
        if sample.at - before > GAP_SECONDS:
            runs.append([])
        before = sample.at
        across = WIDTH * (1 - (end - sample.at) / SPAN_SECONDS)
        runs[-1].append((across, HEIGHT - (HEIGHT - 2) * value(sample.use) / top))
    lines = tuple("M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in run) for run in runs)
    areas = tuple(
        f"{line} L{run[-1][0]:.1f} {HEIGHT} L{run[0][0]:.1f} {HEIGHT} Z" for line, run in zip(lines, runs, strict=True)
    )
    return Chart(title, words(value(samples[-1].use)), words(most) if limited else "", lines, areas)


def _busy(use: Use) -> float:
    known = [gpu.busy_percent for gpu in use.gpus if gpu.busy_percent is not None]
    return sum(known) / len(known) if known else 0.0


def _gpu_bytes(use: Use) -> float:
    return sum(gpu.memory_bytes for gpu in use.gpus)


def _cores(milli: float) -> str:
    return cores(round(milli))


def _bytes(amount: float) -> str:
    return units.human_mib(round(amount / units.MIB))
