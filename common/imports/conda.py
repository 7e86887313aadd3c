"""conda's environment.yml. Its packages are not the index's: most Python libraries have the same name in both, some
another, and what is no Python library cannot be had by name."""

from __future__ import annotations

import re
from typing import Any

from common import documents
from common.errors import ContractError, Problem
from common.imports.draft import Draft

MAX_KEYS = 400

# What the same library is called in the Python index.
RENAMED = {
    "pytorch": "torch", "pytorch-cpu": "torch", "pytorch-gpu": "torch", "tensorflow-gpu": "tensorflow",
    "opencv": "opencv-python-headless", "py-opencv": "opencv-python-headless", "pytables": "tables",
    "msgpack-python": "msgpack", "matplotlib-base": "matplotlib", "dask-core": "dask", "python-graphviz": "graphviz",
}  # fmt: skip
# No Python libraries: compilers, drivers, other languages, and what comes with a wheel by itself.
FOREIGN = re.compile(
    r"(?:lib.*|gcc.*|gxx.*|g\+\+.*|clang.*|cudatoolkit|cuda-.*|cudnn|nccl|pytorch-cuda|pytorch-mutex|mkl|mkl-.*|openmp|"
    r"blas|openblas|nodejs|npm|r-.*|perl|julia|ffmpeg|graphviz|git|make|cmake|ninja|openssl|ca-certificates|zlib|bzip2|xz|tk|"
    r"sqlite|readline|ncurses|ld_impl_.*|_.*|compilers|binutils.*|glib|java|openjdk|cxx-compiler|c-compiler)"
)  # fmt: skip
BY_ITSELF = {"pip", "setuptools", "wheel"}

_SPEC = re.compile(r"(?:[\w.-]+::)?(?P<name>[A-Za-z0-9_][\w.-]*)\s*(?P<version>.*)", re.ASCII)
_VERSION = re.compile(
    r"(?P<operator>[=<>!~]{0,2})\s*(?P<number>[0-9][\w.+]*(?:\.\*)?)(?:=(?P<build>[\w.*]+))?", re.ASCII
)


def read(text: str, draft: Draft) -> None:
    """Add what the file asks for to `draft`. Raises ContractError where it is no such file."""
    data = documents.load(text.encode(), "yaml", MAX_KEYS)
    if not isinstance(data, dict):
        raise ContractError([Problem("", "must be an object with name and dependencies.")])
    draft.name = str(data.get("name") or "")
    wanted = data.get("dependencies")
    for index, one in enumerate(wanted if isinstance(wanted, list) else []):
        place = f"dependencies[{index}]"
        if isinstance(one, dict):
            _pip(one, place, draft)
        else:
            _package(str(one).strip(), place, draft)
    if data.get("channels"):
        draft.leave(
            "channels", "are left out: libraries come from the Python package index, under the same names mostly."
        )
    for key in data:
        if key not in ("name", "dependencies", "channels"):
            draft.leave(str(key), "is left out: a contract has nothing like it.")


def _pip(part: dict[str, Any], place: str, draft: Draft) -> None:
    for key, values in part.items():
        if key != "pip" or not isinstance(values, list):
            draft.leave(f"{place}.{key}", "is left out: only pip may have a list of its own.")
            continue
        for index, one in enumerate(values):
            draft.library(str(one), f"{place}.pip[{index}]")


def _package(text: str, place: str, draft: Draft) -> None:
    match = _SPEC.fullmatch(text)
    if match is None:
        return draft.leave(place, f"{text[:100]!r} is not understood.")
    name, version = match["name"].lower(), _version(match["version"].strip())
    if version is None:
        return draft.leave(place, f"{text[:100]!r} has a version that is not understood.")
    if name == "python":
        draft.python = version
        return None
    if name in BY_ITSELF:
        return None
    if FOREIGN.fullmatch(name):
        return draft.leave(
            place, f"{name} is no Python library. Where the distribution has it, name it in os.packages."
        )
    if name in RENAMED and RENAMED[name] != name:
        draft.leave(place, f"{name} is {RENAMED[name]} in the Python package index, and taken as that.")
    return draft.library(f"{RENAMED.get(name, name)}{version}", place)


def _version(text: str) -> str | None:
    """conda's way to say a version as PEP 440 has it; None where it is something else."""
    if text in ("", "*"):
        return ""
    parts = []
    for part in text.split(","):
        match = _VERSION.fullmatch(part.strip())
        if match is None:
            return None
        operator, number = match["operator"], match["number"]
        if operator in ("", "=") and not match["build"] and not number.endswith("*"):
            number += ".*"  # in conda =1.26 means any 1.26
        parts.append(f"{'==' if operator in ('', '=') else operator}{number}")
    return ",".join(parts)
