"""Documents in JSON, YAML or TOML, read without trusting them.

Bounded before anything is built: length, depth, no duplicate keys, no YAML aliases (a few lines of
them expand to gigabytes), no tags beyond plain data.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any

import yaml

from common.errors import ContractError, Problem

MAX_BYTES = 64 * 1024
MAX_DEPTH = 20

JSON_TYPES = ("application/json", "text/json")
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
TOML_TYPES = ("application/toml", "text/toml", "text/x-toml")


def format_of(content_type: str, file_name: str = "") -> str:
    """`"json"`, `"yaml"` or `"toml"` by media type, else by file name; JSON without either, "" if unknown."""
    media_type = content_type.partition(";")[0].strip().lower()
    for name, types, suffixes in (
        ("json", JSON_TYPES, (".json",)),
        ("yaml", YAML_TYPES, (".yaml", ".yml")),
        ("toml", TOML_TYPES, (".toml",)),
    ):
        if media_type in types or file_name.lower().endswith(suffixes):
            return name
    return "" if media_type or file_name else "json"


def load(body: bytes, kind: str) -> Any:
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
        return loader(text)
    except RecursionError:
        raise _error(f"The document is nested deeper than {MAX_DEPTH} levels.") from None


def _json(text: str) -> Any:
    _check_brackets(text)
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _error(f"Not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except ValueError as error:  # an integer with more digits than Python converts
        raise _error(f"Not JSON: {error}.") from None


def _toml(text: str) -> Any:
    _check_brackets(text)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _error(f"Not TOML: {error}.") from None
    _check_depth(data)
    return data


def _yaml(text: str) -> Any:
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise _error("YAML aliases (*name) are not accepted. Write the value out.")
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
    except ValueError as error:  # a date that no calendar has
        raise _error(f"Not YAML: {error}.") from None


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
        seen: set[str] = set()
        twice = sorted({key for key, _ in pairs if key in seen or seen.add(key)})  # type: ignore[func-returns-value]
        raise ContractError([Problem(key, "is given twice. Keep one.") for key in twice])
    return result


def _check_brackets(text: str) -> None:
    # an upper bound that ignores strings first, so that the parser never recurses far
    depth, in_string, skip = 0, False, False
    for char in text:
        if skip:
            skip = False
        elif in_string:
            if char == "\\":
                skip = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise _error(f"The document is nested deeper than {MAX_DEPTH} levels.")
        elif char in "]}":
            depth -= 1


def _check_depth(value: Any, depth: int = 1) -> None:
    if depth > MAX_DEPTH:
        raise _error(f"The document is nested deeper than {MAX_DEPTH} levels.")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        _check_depth(child, depth + 1)


def _no_constant(name: str) -> Any:
    raise _error(f"Not JSON: {name} is not a number that JSON has.")


def _error(message: str) -> ContractError:
    return ContractError([Problem("", message)])
