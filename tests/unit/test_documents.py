"""Documents: three formats, one meaning, and nothing that a hostile one can cost."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from common import documents
from common.errors import ContractError


def refusal(body: bytes | str, kind: str) -> str:
    """The sentence with which a document is refused."""
    with pytest.raises(ContractError) as refused:
        documents.load(body if isinstance(body, bytes) else body.encode(), kind)
    return str(refused.value)


def refusal_or_data(body: bytes, kind: str) -> str | None:
    """The sentence with which a document is refused, None where it is data. Any other error fails the test."""
    try:
        documents.load(body, kind)
    except ContractError as refused:
        return str(refused)
    return None


@pytest.mark.parametrize(
    ("media_type", "file_name", "kind"),
    [
        ("", "", "json"),
        ("application/json; charset=utf-8", "", "json"),
        ("text/yaml", "x.json", "yaml"),
        ("application/toml", "", "toml"),
        ("application/octet-stream", "x.YML", "yaml"),
        ("application/octet-stream", "x.bin", ""),
        ("text/plain", "", ""),
    ],
)
def test_the_format_by_media_type_then_by_name(media_type: str, file_name: str, kind: str) -> None:
    assert documents.format_of(media_type, file_name) == kind


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("json", '{"os": {"version": "12"}, "language": {"version": 3.10, "libraries": ["numpy"]}, "wait": true}'),
        ("yaml", "os: {version: 12}\nlanguage:\n  version: 3.10\n  libraries: [numpy]\nwait: true\n"),
        ("toml", 'wait = true\nos.version = "12"\n[language]\nversion = 3.10\nlibraries = ["numpy"]\n'),
    ],
)
def test_the_three_formats_say_the_same(kind: str, body: str) -> None:
    wanted = {"os": {"version": "12"}, "language": {"version": "3.10", "libraries": ["numpy"]}, "wait": True}
    assert documents.load(body.encode(), kind) == wanted
    assert documents.load(b"\xef\xbb\xbf" + body.encode(), kind) == wanted


@pytest.mark.parametrize("kind", ["json", "yaml", "toml"])
@pytest.mark.parametrize("body", [b"", b" \n\t ", b"\xff\xfe{}", b"\xc3", b"{" * 70_000])
def test_what_is_empty_too_long_or_no_text_is_refused(kind: str, body: bytes) -> None:
    assert refusal(body, kind).startswith("The document ")


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("json", '{"a": 1, "a": 2}', "a: is given twice"),
        ("json", '{"os": {"b": 1, "b": 1}}', "b: is given twice"),
        ("json", '{"a": NaN}', "NaN is not a number"),
        ("json", '{"a": -Infinity}', "-Infinity is not a number"),
        ("json", "{'a': 1}", "line 1, column 2"),
        ("json", '{"a": ' + "9" * 5000 + "}", "too many digits"),
        ("json", "[" * 10_000 + "]" * 10_000, "nested deeper than 20"),
        ("json", '{"a":' * 21 + "1" + "}" * 21, "nested deeper than 20"),
        ("json", "{" + ",".join(f'"k{n}":1' for n in range(201)) + "}", "more than 200 keys"),
        ("json", "[" + "1," * 2001 + "1]", "more than 2000 values"),
        ("yaml", "".join(f"k{n}: 1\n" for n in range(201)), "more than 200 keys"),
        ("toml", "".join(f"k{n} = 1\n" for n in range(201)), "more than 200 keys"),
        ("yaml", "a: 1\na: 2\n", "a: is given twice"),
        ("yaml", "a: &x [1]\nb: *x\n", "aliases"),
        ("yaml", "a: !!python/object/apply:os.system [id]\n", "tags"),
        ("yaml", "a: !!timestamp 2001-01-01\n", "tags"),
        ("yaml", "a: !x 1\n", "tags"),
        ("yaml", "- " * 10_000, "nested deeper than 20"),
        ("yaml", "a: [1\n", "line 2"),
        ("yaml", "--- 1\n--- 2\n", "Not YAML"),
        ("yaml", "a: \0", "Not YAML"),
        ("toml", "a = 1\na = 2\n", "Not TOML"),
        ("toml", "a = " + "[" * 10_000, "nested deeper than 20"),
        ("toml", "a = " + "9" * 5000, "too many digits"),
        ("toml", "a." * 5_000 + "b = 1", "more than 200 keys"),
    ],
)
def test_what_is_refused_and_how(kind: str, body: str, said: str) -> None:
    assert said in refusal(body, kind)


def test_keys_given_twice_are_told_but_not_thousands_of_them() -> None:
    body = "{" + ",".join(f'"k{n}":1,"k{n}":2' for n in range(1000)) + "}"
    with pytest.raises(ContractError) as refused:
        documents.load(body.encode(), "json")
    assert len(refused.value.problems) == documents.MAX_REPEATED


def test_a_billion_laughs_are_not_expanded() -> None:
    lines = ["a0: &a0 [lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "aliases" in refusal("\n".join(lines), "yaml")


HOSTILE = {
    "json": [
        "{" + ",".join(f'"k{n}":1' for n in range(5000)) + "}",
        "{" + ",".join(['"a":1'] * 9000) + "}",
        "[" + "1," * 30_000 + "1]",
        "[" + "[]," * 20_000 + "1]",
        '"' + "[" * 60_000,
        '"' + '\\"' * 30_000,
        '{"a":' + "9" * 60_000 + "}",
        '{"a":1.' + "9" * 60_000 + "}",
    ],
    "yaml": [
        "a: 1\n" * 12_000,
        "[" + "a," * 30_000 + "]",
        "".join(f"k{n}: 1\n" for n in range(6000)),
        "---\n" * 15_000,
        "? " * 30_000,
        "a: '" + "''" * 30_000,
        "# x\n" * 15_000,
        "a: |\n" + " x\n" * 20_000,
        "a: " + "!" * 60_000,
        "{" * 60_000,
    ],
    "toml": [
        "".join(f"[a{n}.b.c]\n" for n in range(5000)),
        "".join(f"a.b.c.k{n}=1\n" for n in range(5000)),
        "\n".join("a" + ".b" * 60 + f".k{n}=1" for n in range(400)),
        "[[a]]\n" * 10_000,
        "a=[" + "1," * 30_000 + "]",
        "a = '''" + "'" * 60_000,
        'a = "' + '\\"' * 30_000,
        'a = ["""x"""", ' + "[" * 60_000,
        "# [[[\n" * 10_000,
        "a = " + "{b=" * 10_000,
        '"' * 60_000,
    ],
}


@pytest.mark.parametrize(
    ("kind", "body"), [(kind, body) for kind, bodies in HOSTILE.items() for body in bodies], ids=lambda v: v[:20]
)
def test_a_hostile_document_costs_little(kind: str, body: str) -> None:
    body = body[: documents.MAX_BYTES]
    began = time.process_time()
    said = refusal_or_data(body.encode(), kind)
    assert time.process_time() - began < 0.1
    assert said is None or len(said) < 5000


text = st.text(max_size=30)
plain = st.recursive(
    text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(text, plain, max_size=5))
def test_json_says_what_was_written(value: dict[str, Any]) -> None:
    assert documents.load(json.dumps(value).encode(), "json") == value


printable = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)


@given(st.dictionaries(printable, printable | st.lists(printable, max_size=3), min_size=1, max_size=5))
def test_yaml_and_toml_say_what_was_written(value: dict[str, Any]) -> None:
    toml = "\n".join(
        f"{json.dumps(k, ensure_ascii=False)} = {json.dumps(v, ensure_ascii=False)}" for k, v in value.items()
    )
    assert documents.load(toml.encode(), "toml") == value
    dumper = yaml.SafeDumper
    dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]
    assert documents.load(yaml.dump(value, Dumper=dumper, allow_unicode=True).encode(), "yaml") == value


pieces = st.sampled_from(
    ["{", "}", "[", "]", ":", ",", '"', "'", '"""', "'''", "\\", "=", ".", "#", "\n", " ", "  ", "-", "- ", "? ", ": ",
     "&a ", "*a", "!!x ", "|", ">", "a", "b", "0", "1.5", "1e400", "true", "null", "NaN", "\0", "\r", "\t", "é", "<<: "]
)  # fmt: skip


@given(st.lists(pieces, max_size=60).map("".join) | st.text(max_size=80), st.sampled_from(["json", "yaml", "toml"]))
def test_any_text_is_data_or_is_refused(body: str, kind: str) -> None:
    assert refusal_or_data(body.encode("utf-8", "surrogatepass"), kind) != ""


@given(st.binary(max_size=80), st.sampled_from(["json", "yaml", "toml"]))
def test_any_bytes_are_data_or_are_refused(body: bytes, kind: str) -> None:
    assert refusal_or_data(body, kind) != ""
