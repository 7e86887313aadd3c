"""Small wheels and indexes of them, made by the tests."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path


def wheel(
    directory: Path, name: str, version: str, needs: Iterable[str] = (), extras: Iterable[str] = (), mib: int = 0
) -> Path:
    """A wheel of one module that knows its version. `needs` are its requirements, `mib` is the size of its data."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Provides-Extra: {extra}" for extra in extras]
    metadata += [f"Requires-Dist: {need}" for need in needs]
    files = {
        f"{module}/__init__.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": "\n".join([*metadata, ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{module}-{version}.data/purelib/{module}_moved.py"] = "here = True\n"
    if mib:
        files[f"{module}/data"] = "x" * (mib << 20)
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in files.items())
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for inner, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(inner, text)
    return path


def index(root: Path) -> str:
    """Pages for the directories of `root`, each with what is in it; the address."""
    for directory in root.iterdir():
        if directory.is_dir():
            links = (f'<a href="{path.name}">{path.name}</a>' for path in sorted(directory.iterdir()))
            (directory / "index.html").write_text("\n".join(links))
    return root.as_uri()


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
