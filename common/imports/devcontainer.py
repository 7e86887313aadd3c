"""devcontainer.json: its name, the Python that its image or a feature brings, and what it asks of the machine."""

from __future__ import annotations

import json
import re
from typing import Any

from common import documents, units
from common.errors import ContractError, Problem
from common.imports.draft import Draft

MAX_KEYS = 400

# Strings, comments, and commas before a bracket. A comment that does not end takes the rest, and nothing that was
# matched is tried another way, so that no text costs more than a look at each character.
_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*+"|//[^\n]*+|/\*(?>.*?(?:\*/|\Z))|,(?=(?:\s|//[^\n]*+\n|/\*(?>.*?\*/))*+[}\]])', re.DOTALL
)
_IMAGE = re.compile(r"(?:[\w.-]+/)*python:(?:\d+-)?(?P<python>3\.\d{1,2})(?:\.\d+)?(?:-.*)?", re.ASCII)
_PYTHON_FEATURE = re.compile(r"ghcr\.io/devcontainers/features/python(?::.*)?", re.ASCII)
_APT_FEATURE = re.compile(r".*/apt(?:-get)?-packages(?::.*)?", re.ASCII)
_SILENT = {"$schema", "name", "image", "features", "hostRequirements"}


def read(text: str, draft: Draft) -> None:
    """Add what the file asks for to `draft`. Raises ContractError where it is no JSON with comments."""
    bare = _TOKEN.sub(lambda match: match[0] if match[0].startswith('"') else "", text)
    data = documents.load(bare.encode(), "json", MAX_KEYS)
    if not isinstance(data, dict):
        raise ContractError([Problem("", "must be an object.")])
    draft.name = str(data.get("name") or "")
    _image(data.get("image"), draft)
    _features(data.get("features"), draft)
    _requirements(data.get("hostRequirements"), draft)
    for key in data:
        if key not in _SILENT:
            draft.leave(str(key), "is left out: a contract has nothing like it, and nothing of it is run.")


def _image(image: object, draft: Draft) -> None:
    if image is None:
        return
    match = _IMAGE.fullmatch(str(image))
    if match is None:
        draft.leave(
            "image", f"{str(image)[:100]!r} is not taken: base images are made here. Only its Python would be read."
        )
    else:
        draft.python = f"=={match['python']}.*"


def _features(features: object, draft: Draft) -> None:
    for name, options in (features if isinstance(features, dict) else {}).items():
        given: dict[str, Any] = options if isinstance(options, dict) else {"version": options}
        version = str(given.get("version", ""))
        if _PYTHON_FEATURE.fullmatch(name) and re.fullmatch(r"3\.\d{1,2}(\.\d+)?", version):
            draft.python = f"=={'.'.join(version.split('.')[:2])}.*"
        elif _APT_FEATURE.fullmatch(name):
            for package in re.split(r"[,\s]+", str(given.get("packages", "")).strip()):
                draft.package(package, f"features.{name}")
        else:
            draft.leave(f"features.{name}", "is left out: features are scripts, and nothing of them is run.")


def _requirements(wanted: object, draft: Draft) -> None:
    found: dict[str, Any] = wanted if isinstance(wanted, dict) else {}
    for key, value in found.items():
        place = f"hostRequirements.{key}"
        try:
            if key == "cpus":
                units.cpu_milli(str(value))
                draft.resources["cpu"] = str(value)
            elif key in ("memory", "storage"):
                units.size_mib(str(value))
                draft.resources["ram" if key == "memory" else "storage"] = str(value).upper()
            elif key == "gpu":
                _gpu(value, draft)
            else:
                draft.leave(place, "is left out: a contract has nothing like it.")
        except ValueError as error:
            draft.leave(place, f"{json.dumps(value)[:60]} {error}.")


def _gpu(value: object, draft: Draft) -> None:
    if isinstance(value, dict):
        memory = str(value.get("memory", ""))
        if memory:
            units.size_mib(memory)
        draft.resources["gpu"] = f"{memory.upper()}:1" if memory else "1"
        if "cores" in value:
            draft.leave("hostRequirements.gpu.cores", "is left out: GPUs are given whole.")
    elif value is True or value == "true":
        draft.resources["gpu"] = "1"
    elif value == "optional":
        draft.leave("hostRequirements.gpu", "is optional, and so none is asked for. Set resources.gpu to have one.")
