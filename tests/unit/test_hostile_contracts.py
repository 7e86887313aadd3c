"""Contracts that mean harm, from their bytes to what would be kept: each is a plain contract or is refused in words.

What is kept reaches option lists, paths, labels and logs, so whatever gets through must be printable ASCII without
anything that a shell, a path or a terminal reads; and refusing may cost neither time nor a line of somebody's choice.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
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
LAUGHS = "a: &a [x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{f'*{chr(97 + n)}, ' * 9}]\n" for n in range(9))

HARMFUL = [
    "vision\u202elab", "\u2066x\u2069", "vision\u200blab", "vіsion", "ｖision", "numрy", "ﬁle", "\u212a", "İ", "ſ",
    "a\0b", "a\r\nX-Header: y", "a\nb", "a\tb", "a\x1b[31m", "a\x7f", "\ufeffa", "\ud800",
    "-rm", "--privileged", "-v=/:/host", "../../etc", "/etc/passwd", "~root", "a/../b", "a\\b", "..", ".",
    "$(id)", "`id`", "a;b", "a|b", "a&b", "a>b", "${HOME}", "%s%n", "{{7*7}}", "{0}", "<script>", "' or 1=1", '"',
    "a b",
    "numpy @ file:///etc/passwd", "git+https://x/y", "numpy; import os", "numpy==1 --hash=x", "-e .", "numpy\n-r x",
]  # fmt: skip
NUMBERS = [
    "٣", "1e400", "-1", "1e9", "0x10", "1_000", "Infinity", "NaN", "1,5", "१GB", "8GB\u0000", "8 GB", "0.1.2",
    "9" * 300,
]  # fmt: skip
TEXTS = [*HARMFUL, *NUMBERS]
BODIES: list[tuple[str, bytes]] = [
    ("yaml", LAUGHS.encode()),
    ("yaml", b"env-name: !!python/object/apply:os.system ['id']"),
    ("yaml", b"env-name: !ruby/object x"),
    ("yaml", b"? [a, b]\n: c"),
    ("yaml", b"<<: {env-name: x}"),
    ("yaml", b"env-name: x\nenv-name: y"),
    ("yaml", b"%TAG ! tag:x,2000:\n---\nenv-name: !x y"),
    ("yaml", b"a" * 60_000 + b": b"),
    ("yaml", b"- " * 10_000),
    ("yaml", b"[" * 10_000),
    ("yaml", b"{a: " * 10_000),
    ("yaml", b"--- a\n--- b"),
    ("toml", b"env-name = 2020-01-01"),
    ("toml", b"env-name = 2020-01-01T00:00:00Z"),
    ("toml", b"priority = inf"),
    ("toml", b"priority = nan"),
    ("toml", b"priority = 0x10"),
    ("toml", b"env-name = 'x'\nenv-name = 'y'"),
    ("toml", b"[" * 10_000),
    ("toml", b"a = " + b"[" * 10_000),
    ("toml", b".".join([b"a"] * 10_000) + b" = 1"),
    ("toml", b"a = '''" + b"x" * 60_000),
    ("json", b'{"env-name": "x", "env-name": "y"}'),
    ("json", b'{"os": {"version": "12", "version": "13"}}'),
    ("json", b'{"priority": NaN}'),
    ("json", b'{"priority": -Infinity}'),
    ("json", b'{"priority": 1e400}'),
    ("json", b'{"priority": ' + b"9" * 5000 + b"}"),
    ("json", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    ("json", b"[" * 10_000 + b"]" * 10_000),
    ("json", b'{"__proto__": {"env-name": "x"}, "constructor": 1}'),
    ("json", b'{"env-name": "\\ud800"}'),
    ("json", b'{"language": {"libraries": [' + b'"a",' * 15_000 + b'"a"]}}'),
    ("json", b'{"language": {"libraries": ["' + b"a" * 60_000 + b'"]}}'),
    ("json", b'{"language": {"libraries": ["' + b"(" * 250 + b'"]}}'),
    ("json", b"\xff\xfe{\0}\0"),
    ("json", b'"x"'),
    ("json", b"\xef\xbb\xbf"),
]


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
