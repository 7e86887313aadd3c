"""Pages of wheels on disk with their hashes, as an index has them (PEP 503), for builders.

uv hashes a wheel of a mere directory anew at each resolution, which for torch takes longer than all the rest of it. A
page that says the hash spares that; what is unpacked is compared with its hash all the same.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from packaging.utils import parse_wheel_filename

from workers.builders import STORE

Hashed = tuple[int, int, str]  # size and time of a file when it was hashed, and the hash

FOLDER = "pages"  # of the store; builders can read it and no more


def index(store: Path, wheels: Sequence[Path]) -> str:
    """The address for a builder of an index of these wheels, which it sees under the same paths. Raises OSError."""
    paths = sorted(path.absolute() for path in wheels)
    name = hashlib.sha256("\n".join(map(str, paths)).encode()).hexdigest()[:16]
    folder = store / FOLDER / name
    known = _known(folder)
    stats = {path: path.stat() for path in paths}
    hashes = {path: _hash(path, stats[path], known.get(str(path))) for path in paths}
    if {str(path): value for path, value in hashes.items()} != known:
        links: dict[str, list[str]] = {}
        for path, (*_, value) in hashes.items():
            link = f'<a href="file://{quote(str(path))}#sha256={value}">{html.escape(path.name)}</a>\n'
            links.setdefault(parse_wheel_filename(path.name)[0], []).append(link)
        for project, rows in links.items():
            _write(folder / project / "index.html", f"<!DOCTYPE html><html><body>\n{''.join(rows)}</body></html>\n")
        _write(folder / "hashes.json", json.dumps({str(path): value for path, value in hashes.items()}))
    return f"file://{STORE}/{FOLDER}/{name}"


def _hash(path: Path, stat: os.stat_result, known: Hashed | None) -> Hashed:
    if known and known[:2] == (stat.st_size, stat.st_mtime_ns):
        return known
    with path.open("rb") as file:
        return (stat.st_size, stat.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest())


def _known(folder: Path) -> dict[str, Hashed]:
    try:
        return {
            path: (row[0], row[1], row[2]) for path, row in json.loads((folder / "hashes.json").read_text()).items()
        }
    except (FileNotFoundError, ValueError):
        return {}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{secrets.token_hex(4)}")
    new.write_text(text)
    new.rename(path)
