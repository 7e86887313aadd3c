"""Contracts as `dcloud` takes them: from a file or the standard input, in any of the three formats."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from common import documents
from common.errors import DCloudError

MEDIA_TYPES = {"json": "application/json", "yaml": "application/yaml", "toml": "application/toml"}


format_option = click.option(
    "--format", "format_", type=click.Choice(list(MEDIA_TYPES)), help="Format, where the name does not say."
)
contract_file = click.argument("file", metavar="FILE|-")


def read(file: str, format_: str | None) -> tuple[bytes, str]:
    """The document and its format: "json", "yaml" or "toml". Raises DCloudError."""
    body = _read(file)
    return body, format_ or _kind(file, body)


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read(documents.MAX_BYTES + 1)
    try:
        with Path(file).open("rb") as opened:
            return opened.read(documents.MAX_BYTES + 1)
    except OSError as error:
        raise DCloudError(f"{file} cannot be read: {error.strerror}.") from None


def _kind(file: str, body: bytes) -> str:
    if file != "-":
        return documents.format_of("", file) or "json"
    return "json" if body.lstrip()[:1] in (b"{", b"[", b"") else "yaml"
