"""Capacities from the settings, in the contract's own units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import SettingsError
from common.inventory import Inventory
from common.settings import Settings
from workers.cards import Cards
from workers.inventory import gather
from workers.volumes import Volumes


def found_with(settings: Settings) -> Inventory:
    return gather(settings, "28.0", Cards(), Volumes(settings))


SETTINGS = Settings(
    redis_url="redis://x", host_name="h1", capacity_cpu="4", capacity_ram="16GB", capacity_storage="1TiB"
)


def test_capacities_as_they_are_set(tmp_path: Path) -> None:
    found = found_with(replace(SETTINGS, data_dir=tmp_path))
    assert (found.cpu_milli, found.ram_mib, found.storage_mib) == (4000, 15259, 2**20)
    assert found.engine == "28.0"
    assert len(found.machine) >= 16


def test_capacities_of_the_machine(tmp_path: Path) -> None:
    found = found_with(Settings(redis_url="redis://x", data_dir=tmp_path))
    assert found.cpu_milli >= 1000
    assert found.ram_mib > 0
    assert found.storage_mib > 0


@pytest.mark.parametrize("name", ["capacity_cpu", "capacity_ram", "capacity_storage"])
def test_nonsense_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"DCLOUD_{name.upper()}: 'lots'"):
        found_with(replace(SETTINGS, data_dir=tmp_path, **{name: "lots"}))


def test_a_host_that_cannot_limit_storage_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_with(replace(SETTINGS, data_dir=tmp_path)).storage_limit == "loop"
    monkeypatch.setattr("shutil.which", lambda name: None)
    found = found_with(replace(SETTINGS, data_dir=tmp_path))
    assert found.storage_limit == ""
    assert "environments are not claimed" in found.notes[0]
    assert "Loop devices or e2fsprogs are missing" in found.notes[0]
    assert "is not XFS that is mounted with prjquota" in found.notes[0]


def test_a_kind_of_storage_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DCLOUD_STORAGE is 'zfs'"):
        Volumes(replace(SETTINGS, data_dir=tmp_path, storage="zfs"))
