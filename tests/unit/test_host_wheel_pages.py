"""Pages of wheels on disk."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from workers.wheel_pages import index


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}-py3-none-any.whl" for name in ("torch-2.0+cpu", "torch-2.1+cpu", "torch_x-1")]
    for number, path in enumerate(paths):
        path.write_bytes(b"x" * number)
    return paths


def listed(store: Path, address: str) -> dict[str, str]:
    """Hash by path, of all pages of an index."""
    folder = store / address.removeprefix("file:///opt/dcloud/")
    text = "".join(page.read_text() for page in folder.glob("*/index.html"))
    return {unquote(path): value for path, value in re.findall(r'href="file://(\S+)#sha256=(\w+)"', text)}


def test_each_wheel_with_its_hash_under_the_name_of_its_project(tmp_path: Path, wheels: list[Path]) -> None:
    address = index(tmp_path / "store", wheels)
    assert listed(tmp_path / "store", address) == {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in wheels}
    folder = tmp_path / "store" / address.removeprefix("file:///opt/dcloud/")
    assert sorted(page.parent.name for page in folder.glob("*/index.html")) == ["torch", "torch-x"]
    assert index(tmp_path / "store", reversed(wheels)) == address  # type: ignore[arg-type]
    assert index(tmp_path / "store", wheels[:1]) != address


def test_what_was_hashed_is_not_read_again_until_it_changes(tmp_path: Path, wheels: list[Path]) -> None:
    store = tmp_path / "store"
    before = listed(store, index(store, wheels))
    stat = wheels[1].stat()
    wheels[1].write_bytes(b"y")
    os.utime(wheels[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert listed(store, index(store, wheels)) == before
    os.utime(wheels[1], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = listed(store, index(store, wheels))
    assert {path for path in after if after[path] != before[path]} == {str(wheels[1])}
    assert after[str(wheels[1])] == hashlib.sha256(b"y").hexdigest()


def test_half_written_notes_are_made_anew(tmp_path: Path, wheels: list[Path]) -> None:
    store = tmp_path / "store"
    before = listed(store, index(store, wheels))
    for note in store.glob("pages/*/hashes.json"):
        note.write_text("{")
    assert listed(store, index(store, wheels)) == before
