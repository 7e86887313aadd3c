"""Lines of charts from samples."""

from __future__ import annotations

from api.pages.charts import HEIGHT, WIDTH, charts
from common.contract import Resources
from common.stats import GpuUse, Sample, Use

ALLOWED = Resources(2000, 1024, 1024)


def sample(at: float, cpu_milli: int, *gpus: GpuUse) -> Sample:
    return Sample(f"{at}-0", at, Use(cpu_milli, 512 * 2**20, 0, 0, 0, 1, 0, gpus))


def test_nothing_measured_is_no_chart() -> None:
    assert charts([], ALLOWED) == []


def test_a_line_ends_now_and_its_height_is_the_share_of_what_is_allowed() -> None:
    cpu, ram, storage = charts([sample(1000, 0), sample(1010, 2000)], ALLOWED)
    assert (cpu.now, cpu.limit) == ("2 cores", "2 cores")
    assert cpu.lines == (f"M299.2 {HEIGHT}.0 L{WIDTH}.0 2.0",)
    assert (ram.now, ram.limit, storage.now) == ("512 MiB", "1 GiB", "0 MiB")


def test_a_gap_is_no_line() -> None:
    assert len(charts([sample(1000, 1), sample(1010, 1), sample(2000, 1)], ALLOWED)[0].lines) == 2


def test_more_than_allowed_stays_within_the_picture() -> None:
    assert " 2.0" in charts([sample(1000, 9000)], ALLOWED)[0].lines[0]


def test_gpus_have_charts_where_there_are_any() -> None:
    with_gpus = sample(1000, 1, GpuUse("a", 50, 2**30), GpuUse("b", 100, 2**30))
    busy, memory = charts([with_gpus], ALLOWED)[3:]
    assert (busy.title, busy.now, memory.now, memory.limit) == ("GPU", "75 %", "2 GiB", "")
    assert [c.title for c in charts([sample(1000, 1, GpuUse("a", None, 1))], ALLOWED)][3:] == ["GPU memory"]
