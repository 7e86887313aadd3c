"""CDI: whether the engine can hand over GPUs itself, by the specifications that `nvidia-ctk cdi generate` writes.

An engine that has CDI (25 or later, where its operator switched it on) says in which directories it looks. It is used
where a specification there names every GPU by its UUID (`--device-name-strategy=uuid`); else NVIDIA's hook is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from workers.confinement import CDI_KIND


def offers(directories: Iterable[str], uuids: Iterable[str]) -> bool:
    """Whether the specifications name all of these GPUs."""
    return set(uuids) <= {name for directory in directories for name in _named(Path(directory))}


def _named(directory: Path) -> set[str]:
    found: set[str] = set()
    for path in sorted(directory.glob("*")):
        if path.suffix in (".json", ".yaml"):
            try:
                said = yaml.safe_load(path.read_text())  # JSON is YAML
            except (OSError, yaml.YAMLError):
                continue  # the engine leaves it out too
            if isinstance(said, dict) and said.get("kind") == CDI_KIND:
                found |= {str(device.get("name")) for device in said.get("devices") or () if isinstance(device, dict)}
    return found
