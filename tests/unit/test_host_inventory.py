"""Capacities from the settings, in the contract's own units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import SettingsError
from common.settings import Settings
from workers.cards import Cards
from workers.inventory import gather

SETTINGS = Settings(
    redis_url="redis://x", host_name="h1", capacity_cpu="4", capacity_ram="16GB", capacity_storage="1TiB"
)


def test_capacities_as_they_are_set(tmp_path: Path) -> None:
    found = gather(replace(SETTINGS, data_dir=tmp_path), "28.0", Cards())
    assert (found.cpu_milli, found.ram_mib, found.storage_mib) == (4000, 15259, 2**20)
    assert found.engine == "28.0"
    assert len(found.machine) >= 16


def test_capacities_of_the_machine(tmp_path: Path) -> None:
    found = gather(Settings(redis_url="redis://x", data_dir=tmp_path), "28.0", Cards())
    assert found.cpu_milli >= 1000
    assert found.ram_mib > 0
    assert found.storage_mib > 0


@pytest.mark.parametrize("name", ["capacity_cpu", "capacity_ram", "capacity_storage"])
def test_nonsense_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"DCLOUD_{name.upper()}: 'lots'"):
        gather(replace(SETTINGS, data_dir=tmp_path, **{name: "lots"}), "28.0", Cards())


def test_a_host_that_cannot_limit_storage_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gather(replace(SETTINGS, data_dir=tmp_path), "28.0", Cards()).storage_limit == "loop"
    monkeypatch.setattr("shutil.which", lambda name: None)
    found = gather(replace(SETTINGS, data_dir=tmp_path), "28.0", Cards())
    assert found.storage_limit == ""
    assert "Environments are not claimed" in found.notes[0]
