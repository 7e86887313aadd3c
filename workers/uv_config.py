"""The configuration of uv in a builder: its indexes, and for how long what they say is believed.

An index that says nothing of that (many mirrors do not) would be asked for every library again at each
resolution, which takes longer than all the rest of a layer whose wheels are here. So uv keeps what it got as
long as the public index lets it: pages with their hashes for ten minutes, wheels and their metadata for good. A
wheel that somebody replaced under its own name is told by its hash, and the installation fetches it again.
"""

from __future__ import annotations

import functools
import json
import secrets
import subprocess
import sys
from pathlib import Path

import uv

from workers.sources import Sources

FILE = "/etc/dcloud/uv.toml"  # where a builder sees it
PAGES, WHEELS = "max-age=600", "max-age=365000000, immutable"
INSTEAD_OF = ("UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL")  # variables that would hide what the file says
TIMEOUT_SECONDS = 60


def write(path: Path, sources: Sources) -> None:
    """Put the file there, if another or none is. Builders that have the old one keep it."""
    wanted = text(sources)
    if not path.exists() or path.read_text() != wanted:
        new = path.with_suffix(f".{secrets.token_hex(4)}")
        new.write_text(wanted)
        new.rename(path)


def text(sources: Sources) -> str:
    """The file, with the machine's indexes; where it names none, with uv's own."""
    env = sources.builder_env
    indexes = [(address, False) for address in env.get("UV_EXTRA_INDEX_URL", "").split()]
    default = env.get("UV_DEFAULT_INDEX") or own_index()
    if default:
        indexes.append((default, True))
    return "\n".join(_index(address, is_default) for address, is_default in indexes)


@functools.cache
def own_index() -> str:
    """The index that uv asks where it is told of none; empty where it does not say."""
    command = [uv.find_uv_bin(), "pip", "compile", "-", "--no-config", "--offline", "--quiet"]
    command += ["--emit-index-url", "--python", sys.executable]
    env = {"HOME": "/nonexistent", "UV_PYTHON_DOWNLOADS": "never"}
    try:
        said = subprocess.run(
            command, input="", env=env, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        ).stdout
    except subprocess.TimeoutExpired:
        return ""
    return next((line.split()[1] for line in said.splitlines() if line.startswith("--index-url ")), "")


def _index(address: str, default: bool) -> str:
    return (
        f"[[index]]\nurl = {json.dumps(address, ensure_ascii=False)}\ndefault = {json.dumps(default)}\n"
        f'cache-control = {{ api = "{PAGES}", files = "{WHEELS}" }}\n'
    )
