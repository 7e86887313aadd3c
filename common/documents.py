"""Documents in JSON, YAML or TOML, read without trusting them.

Bounded before anything is built: length, depth, number of keys and of values, no duplicate keys, no YAML
aliases (a few lines of them expand to gigabytes), no YAML tags. So a hostile document costs a
few milliseconds. Numbers with a fraction stay text, so that the version 3.10 does not become 3.1.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from typing import Any

import yaml

from common.errors import ContractError, Problem

MAX_BYTES = 64 * 1024
MAX_DEPTH = 20
MAX_KEYS = 200  # in all objects together; a contract has about 25
MAX_VALUES = 2000
MAX_REPEATED = 20  # keys given twice that are told one by one

_BY_MEDIA_TYPE = {
    "application/json": "json", "text/json": "json",
    "application/yaml": "yaml", "application/x-yaml": "yaml", "text/yaml": "yaml", "text/x-yaml": "yaml",
    "application/toml": "toml", "text/toml": "toml", "text/x-toml": "toml",
}  # fmt: skip
_BY_SUFFIX = {"json": "json", "yaml": "yaml", "yml": "yaml", "toml": "toml"}

# a string that does not end takes the rest, so that both patterns look at each character once
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_TOML_STRING_OR_COMMENT = re.compile(
    r""""{3}(?:[^\\]|\\.)*?(?:"{3,5}|\Z)|'{3}.*?(?:'{3,5}|\Z)"""
    r"""|"(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?|\#[^\n]*+""",
    re.DOTALL,
)
_BRACKET = re.compile(r"[\[\]{}]")


def format_of(content_type: str, file_name: str = "") -> str:
    """`"json"`, `"yaml"` or `"toml"` by media type, else by file name; JSON without either, "" if unknown."""
    media_type, suffix = content_type.partition(";")[0].strip().lower(), file_name.lower().rpartition(".")[2]
    if not media_type and not file_name:
        return "json"
    return _BY_MEDIA_TYPE.get(media_type) or _BY_SUFFIX.get(suffix, "")


def load(body: bytes, kind: str, max_keys: int = MAX_KEYS) -> Any:
    """The plain data in `body`, written as `kind` ("json", "yaml" or "toml"). Raises ContractError."""
    if len(body) > MAX_BYTES:
        raise _error(f"The document has {len(body)} bytes; at most {MAX_BYTES} are accepted.")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _error(f"The document is not UTF-8 (byte {error.start}).") from None
    if not text.strip():
        raise _error("The document is empty. Send a contract; examples/ has some.")
    loader = {"json": _json, "yaml": _yaml, "toml": _toml}[kind]
    try:
        data = loader(text, max_keys)
        _check_keys(_keys(data), max_keys)
    except RecursionError:
        raise _error(f"The document is nested deeper than {MAX_DEPTH} levels.") from None
    return data


def _json(text: str, _max_keys: int) -> Any:
    bare = _JSON_STRING.sub("", text)
    _check_depth(bare)
    _check_values(bare.count(","))
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=str)
    except json.JSONDecodeError as error:
        raise _error(f"Not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except ValueError:  # an integer with more digits than Python converts
        raise _error("Not JSON: it has a number with too many digits.") from None


def _toml(text: str, max_keys: int) -> Any:
    bare = _TOML_STRING_OR_COMMENT.sub("", text)
    _check_depth(bare)
    _check_keys(max(bare.count("="), bare.count("."), bare.count("[") // 2), max_keys)
    _check_values(bare.count(","))
    try:
        return tomllib.loads(text, parse_float=str)
    except tomllib.TOMLDecodeError as error:
        raise _error(f"Not TOML: {str(error)[:200]}.") from None
    except ValueError:  # an integer with more digits than Python converts
        raise _error("Not TOML: it has a number with too many digits.") from None


def _yaml(text: str, _max_keys: int) -> Any:
    try:
        depth = 0
        for count, event in enumerate(yaml.parse(text, Loader=_SafeLoader)):
            _check_values(count // 2)
            if isinstance(event, yaml.AliasEvent):
                raise _error("YAML aliases (*name) are not accepted. Write the value out.")
            if getattr(event, "tag", None) is not None:
                raise _error("YAML tags (!name) are not accepted. Write plain strings, lists and mappings.")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise _error(f"The document is nested deeper than {MAX_DEPTH} levels.")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
        return yaml.load(text, Loader=_SafeLoader)  # noqa: S506 - a subclass of the safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _error(f"Not YAML: {getattr(error, 'problem', None) or 'it cannot be read'}{where}.") from None


class _SafeLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, without duplicate keys, and with only the plain scalars that JSON has."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        pairs = self.construct_pairs(node, deep=True)
        return _unique([(key if isinstance(key, str) else str(key), value) for key, value in pairs])


# 3.10 must stay the version "3.10": every plain scalar is text, except true, false and null
_SafeLoader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:null")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_SafeLoader.add_constructor("tag:yaml.org,2002:map", _SafeLoader.construct_mapping)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = sorted(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ContractError([Problem(key[:100], "is given twice. Keep one.") for key in twice[:MAX_REPEATED]])
    return result


def _check_depth(bare: str) -> None:
    # brackets outside of strings, so that the parser never recurses far
    depth = 0
    for bracket in _BRACKET.findall(bare):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise _error(f"The document is nested deeper than {MAX_DEPTH} levels.")


def _check_keys(count: int, most: int) -> None:
    if count > most:
        raise _error(f"The document has more than {most} keys; a contract has about 25.")


def _check_values(count: int) -> None:
    if count > MAX_VALUES:
        raise _error(f"The document has more than {MAX_VALUES} values; a contract has far fewer.")


def _keys(data: Any) -> int:
    if isinstance(data, dict):
        return len(data) + sum(_keys(value) for value in data.values())
    return sum(_keys(value) for value in data) if isinstance(data, list) else 0


def _no_constant(name: str) -> Any:
    raise _error(f"Not JSON: {name} is not a number that JSON has.")


def _error(message: str) -> ContractError:
    return ContractError([Problem("", message)])
