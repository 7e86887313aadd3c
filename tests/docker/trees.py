"""Trees of files, to be compared before and after, here and there."""

from __future__ import annotations

import hashlib
from pathlib import Path


def hashes(tree: Path) -> dict[str, str]:
    """Content, kind and mode of everything in a tree, by path within it."""
    result = {}
    for path in sorted(tree.rglob("*")):
        name = str(path.relative_to(tree))
        if path.is_symlink():
            result[name] = f"-> {path.readlink()}"
        elif path.is_file():
            result[name] = hashlib.sha256(path.read_bytes()).hexdigest() + oct(path.stat().st_mode)
        else:
            result[name] = oct(path.stat().st_mode)
    return result
