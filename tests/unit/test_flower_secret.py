"""The secret that lets the API into Flower."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import flower


def test_it_is_made_once_whoever_comes_first_and_for_its_owner_alone(tmp_path: Path) -> None:
    var = tmp_path / "var"
    with ThreadPoolExecutor(8) as pool:
        [found] = set(pool.map(flower.credentials, [var] * 32))
    assert found.startswith("dcloud:")
    assert len(found) > 40
    assert [path.name for path in var.iterdir()] == ["flower.secret"]
    assert stat.S_IMODE((var / "flower.secret").stat().st_mode) == 0o600
    assert flower.credentials(var) == found
