"""Contracts that mean harm, from their bytes to what would be kept: each is a plain contract or is refused in words.

What is kept reaches option lists, paths, labels and logs, so whatever gets through must be printable ASCII without
anything that a shell, a path or a terminal reads; and refusing may cost neither time nor a line of somebody's choice.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hostile import BODIES, HARMFUL, TEXTS
from hypothesis import given
from hypothesis import strategies as st

from common import contract, documents
from common.contract import Contract
from common.errors import ContractError

KINDS = ("json", "yaml", "toml")
PATHS = (
    "env-name", "version", "os.image-name", "os.version", "os.tags", "os.packages", "language.image-name",
    "language.version", "language.tags", "language.libraries", "language.lock", "resources.ram", "resources.cpu",
    "resources.gpu", "resources.storage", "lifetime", "priority", "wait",
)  # fmt: skip


def read(body: bytes, kind: str) -> Contract | ContractError:
    """What the API makes of a body."""
    try:
        return contract.parse(documents.load(body, kind))
    except ContractError as error:
        return error


def check(found: Contract | ContractError) -> None:
    """What must hold of anything that is kept or told."""
    if isinstance(found, ContractError):
        assert found.problems
        for problem in found.problems:
            assert problem.path.isprintable(), problem
            assert problem.message.isprintable(), problem
            assert len(problem.message) < 1000
        return
    texts = [found.name, found.os.name, found.os.version, found.os.tags, found.language.name, found.language.version]
    texts += [found.language.tags, found.resources.gpus.model, *found.packages, *found.libraries]
    for text in texts:
        assert text.isascii(), text
        assert text.isprintable(), text
        assert not text.startswith(("-", ".", "/", "~")), text
        assert not set(text) & set("$`\\\0\n\r|&"), text
        assert "/" not in text, text
        assert "://" not in text, text


@pytest.mark.parametrize(("kind", "body"), BODIES, ids=[f"{kind}-{body[:24]!r}" for kind, body in BODIES])
def test_a_hostile_document_is_refused_soon(kind: str, body: bytes) -> None:
    began = time.process_time()
    found = read(body, kind)
    assert time.process_time() - began < 0.5
    assert isinstance(found, ContractError)
    check(found)


def placed(path: str, value: Any) -> dict[str, Any]:
    section, _, key = path.rpartition(".")
    return {section: {key: value}} if section else {key: value}


@pytest.mark.parametrize("path", PATHS)
def test_hostile_text_in_any_place_is_refused_or_harmless(path: str) -> None:
    for text in TEXTS:
        for value in (text, [text], {text: text}):
            check(read(json.dumps(placed(path, value)).encode(), "json"))
        check(read(json.dumps(placed(path.replace("-", text), "x")).encode(), "json"))  # a key that looks like another


@pytest.mark.parametrize("text", HARMFUL)
def test_no_such_text_is_a_name_or_a_package(text: str) -> None:
    for path, value in (("env-name", text), ("os.image-name", text), ("os.packages", [text])):
        assert isinstance(read(json.dumps(placed(path, value)).encode(), "json"), ContractError)


PIECES = st.sampled_from([*TEXTS, "x", "1", "8GB", "numpy", "python", "debian", " ", ""])


@given(st.sampled_from(PATHS), st.lists(PIECES, min_size=1, max_size=4).map("".join), st.sampled_from(KINDS))
def test_any_text_in_any_place_in_any_format(path: str, text: str, kind: str) -> None:
    quoted = json.dumps(text)
    section, _, key = path.rpartition(".")
    lines = {
        "json": json.dumps(placed(path, text)),
        "yaml": f"{section}:\n  {key}: {quoted}" if section else f"{key}: {quoted}",
        "toml": f"[{section}]\n{key} = {quoted}" if section else f"{key} = {quoted}",
    }
    check(read(lines[kind].encode(), kind))
