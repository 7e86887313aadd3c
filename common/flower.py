"""What lets the API into Flower, and nobody else: one secret of the installation, for the owner of `var/` alone."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

PREFIX = "flower"  # under which Flower and the API have its pages
USER = "dcloud"
BYTES = 32


def credentials(var_dir: Path) -> str:
    """`user:password` as Flower's basic authentication takes it; made at the first call, whichever process that is."""
    path = var_dir / "flower.secret"
    if not path.exists():
        _make(path)
    return f"{USER}:{path.read_text().strip()}"


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_urlsafe(BYTES).encode() + b"\n")
        os.fsync(descriptor)  # an empty one after a power cut would be no secret
        with suppress(FileExistsError):  # another process was first
            path.hardlink_to(new)
    finally:
        os.close(descriptor)
        new.unlink()
