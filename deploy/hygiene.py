"""What may not stand in a tracked file: addresses and folders that belong to one machine only."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from deploy.venv import ROOT

LOCKS = ("deploy/requirements.txt", "deploy/requirements-dev.txt")
CODE = (".py", ".lua", ".sh", ".toml", ".txt", ".yml", ".yaml", ".conf", ".json", "Makefile", "Procfile", ".ci/run")


def check() -> tuple[list[str], str]:
    """One line for each place, and no remark."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    files = [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]
    words = _of_this_machine()
    problems = [line for path in files for line in find(path.relative_to(ROOT), _text(path), words)]
    return problems, ""


def find(name: Path, text: str, words: Iterable[str]) -> list[str]:
    """The places in a file that name one of `words`, or in a lock any address at all."""
    patterns = [re.escape(word) for word in words]
    if str(name) in LOCKS:
        patterns.append(r"\w+://")
    if not patterns:
        return []
    wanted = re.compile("|".join(patterns))
    lines = enumerate(text.splitlines(), start=1)
    return [f"{name}:{number}: {match[0]}" for number, line in lines if (match := wanted.search(line))]


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")


def _of_this_machine() -> list[str]:
    """Where this checkout lies, and the hosts and folders that pip and apt are set up to use here."""
    words = {str(ROOT)}
    pip = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    apt = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True, check=False
    )
    for word in re.findall(r"[^\s'\"]+://[^\s'\"]+", pip.stdout + apt.stdout):
        parts = urlsplit(word)
        words.add(parts.hostname or parts.path)
    return sorted(words)
