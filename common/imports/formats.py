"""Which format a file has, and who reads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from common.errors import ContractError, Problem
from common.imports import conda, devcontainer, pyproject, requirements_txt, uv_lock
from common.imports.draft import Draft, Imported, Runtime

MAX_BYTES = 64 * 1024
MAX_LOCK_BYTES = 1024 * 1024  # a lock lists every wheel of every library; it is read line by line

FORMATS: dict[str, Callable[[str, Draft], None]] = {
    "requirements.txt": requirements_txt.read,
    "pyproject.toml": pyproject.read,
    "environment.yml": conda.read,
    "devcontainer.json": devcontainer.read,
    "uv.lock": uv_lock.read,
}
_BY_NAME = (
    (re.compile(r"pyproject\.toml"), "pyproject.toml"),
    (re.compile(r"uv\.lock"), "uv.lock"),
    (re.compile(r"\.?devcontainer\.json"), "devcontainer.json"),
    (re.compile(r".*\.ya?ml"), "environment.yml"),
    (re.compile(r".*\.(?:txt|in)"), "requirements.txt"),
)


def format_of(file_name: str) -> str:
    """The format by the file's name, "" where it says none."""
    last = re.split(r"[/\\]", file_name)[-1].lower()
    return next((name for pattern, name in _BY_NAME if pattern.fullmatch(last)), "")


def convert(body: bytes, kind: str, runtimes: Sequence[Runtime]) -> Imported:
    """The contract that a file of a format (a key of FORMATS) means. Raises ContractError where it cannot be read."""
    most = MAX_LOCK_BYTES if kind == "uv.lock" else MAX_BYTES
    if len(body) > most:
        raise ContractError([Problem("", f"The file has {len(body)} bytes; at most {most} are accepted.")])
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ContractError([Problem("", f"The file is not UTF-8 (byte {error.start}).")]) from None
    if not text.strip():
        raise ContractError([Problem("", "The file is empty.")])
    draft = Draft()
    FORMATS[kind](text, draft)
    return draft.finished(runtimes)
