"""Sizes, cores and durations."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import units


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("8GB", 7630),  # 8e9 / 2^20 = 7629.4, upward
        ("500MB", 477),
        ("1000KB", 1),
        ("8GiB", 8192),
        ("8G", 8192),
        ("8g", 8192),
        ("512M", 512),
        ("512 MiB", 512),
        ("0.5GiB", 512),
        ("1TB", 953675),
        ("1T", 1048576),
        ("1B", 1),
        ("1048577B", 2),
        ("0GB", 0),
        ("1024K", 1),
        ("1025KiB", 2),
    ],
)
def test_a_size_becomes_mib_rounded_upward(text: str, mib: int) -> None:
    assert units.size_mib(text) == mib


@pytest.mark.parametrize(
    "text", ["", "8", "GB", "-8GB", "+8GB", "8 G B", "8XB", "1e3GB", "0x8GB", "8GB ", " 8GB", "8GB\n", "８GB", "1_0GB",
             "8GBB", "1.2.3GB", ".5GB", "5.GB", "inf", "NaNGB", "9" * 16 + "B"]
)  # fmt: skip
def test_what_is_no_size_is_refused_with_the_units(text: str) -> None:
    with pytest.raises(ValueError, match="KiB, MiB, GiB, TiB"):
        units.size_mib(text)


@pytest.mark.parametrize(("text", "milli"), [("2", 2000), ("0.5", 500), ("500m", 500), ("0.0001", 1), ("1.5m", 2)])
def test_cores_become_thousandths_rounded_upward(text: str, milli: int) -> None:
    assert units.cpu_milli(text) == milli


@pytest.mark.parametrize("text", ["", "-1", "1c", "m", "1e3", "½", "1 m", "١"])
def test_what_is_no_number_of_cores_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="500m"):
        units.cpu_milli(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("8h", 28800), ("90m", 5400), ("1d12h", 129600), ("0s", 0), ("1.5s", 2), ("2w", 1209600)]
)
def test_a_duration_becomes_seconds_rounded_upward(text: str, seconds: int) -> None:
    assert units.duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "h", "-1h", "1h-1m", "1 h", "1h 30m", "1y"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="8h or 1d12h"):
        units.duration_seconds(text)


@given(
    st.integers(0, 10**12),
    st.sampled_from([("KB", 10**3), ("GB", 10**9), ("MiB", 2**20), ("T", 2**40), ("b", 1)]),
)
def test_nobody_gets_less_than_they_asked_for_nor_a_mib_more(number: int, unit: tuple[str, int]) -> None:
    exact = Fraction(number * unit[1], units.MIB)
    assert units.size_mib(f"{number}{unit[0]}") == math.ceil(exact)


def test_amounts_as_people_read_them() -> None:
    assert [units.human_mib(n) for n in (512, 1536, 2**20)] == ["512 MiB", "1.5 GiB", "1 TiB"]
    assert [units.human_cpu(n) for n in (500, 2000)] == ["0.5", "2"]
