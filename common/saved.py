"""The settings that an installation was last started with: `dcloud.env` in its `var`, a line `NAME=value` each."""

from __future__ import annotations

from pathlib import Path

FILE = "dcloud.env"


def saved(var: Path) -> dict[str, str]:
    """The `DCLOUD_*` variables of the last start; empty before the first. Raises OSError where they are not ours."""
    try:
        lines = (var / FILE).read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
