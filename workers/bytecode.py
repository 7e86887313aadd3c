"""Compile Python files so that the same source gives the same bytes everywhere.

Run by the interpreter of a base image, by `-c` and with nothing but its standard library (3.9 or later);
arguments are directories of unpacked wheels. Each file is announced by a line.

Python's own compiler does not promise that: what it writes depends on which strings the process happens
to hold elsewhere (`marshal` marks an object for reuse by its count of references), on the order of sets,
and on the path, which for an unpacked wheel is made up.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
import types
import warnings

# The source decides whether a compiled file is good, so that edits of installed files count; and times would differ.
CHECKED_HASH = (0b11).to_bytes(4, "little")


def compiled(source: bytes, path: str) -> bytes:
    """The content of a compiled file. Raises what `compile` raises where this Python cannot read the source."""
    code = compile(source, path, "exec", dont_inherit=True, optimize=-1)
    held: list[object] = []
    _hold(code, held)
    return importlib.util.MAGIC_NUMBER + CHECKED_HASH + importlib.util.source_hash(source) + marshal.dumps(code)


def _hold(value: object, held: list[object]) -> None:
    """One reference more to each part, so that `marshal` treats all alike."""
    held.append(value)
    parts: tuple[object, ...] = ()
    if isinstance(value, types.CodeType):
        parts = (value.co_consts, value.co_names, value.co_varnames, value.co_cellvars, value.co_freevars)
        parts += (value.co_filename, value.co_name, getattr(value, "co_qualname", ""))
    elif isinstance(value, (tuple, frozenset)):
        parts = tuple(value)
    for part in parts:
        _hold(part, held)


def _file(root: str, path: str) -> None:
    os.write(1, f"Compiling {path}\n".encode(errors="replace"))
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib would have to be imported by each process
        source = file.read()
    try:
        content = compiled(source, os.path.relpath(path, root))
    except Exception:
        return  # some libraries carry files for other Pythons; they are none of its business
    target = importlib.util.cache_from_source(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
    with open(f"{target}.new", "wb") as file:  # noqa: PTH123
        file.write(content)
    os.replace(f"{target}.new", target)  # noqa: PTH105


def main(roots: list[str]) -> int:
    """Compile all below `roots` with as many processes as there are cores; the exit code."""
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(10_000)
    files = [
        (root, os.path.join(directory, name))  # noqa: PTH118
        for root in roots
        for directory, _, names in os.walk(root)
        # what a wheel's `.data` holds is moved when it is installed, and the installer knows each file of it
        if ".data" not in os.path.relpath(directory, root).partition(os.sep)[0]
        for name in names
        if name.endswith(".py")
    ]
    files.sort(key=lambda entry: os.path.getsize(entry[1]), reverse=True)  # noqa: PTH202 - the longest work first
    share = len(os.sched_getaffinity(0))
    children = []
    for index in range(share):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for root, path in files[index::share]:
                    _file(root, path)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    return max(os.waitpid(child, 0)[1] for child in children)


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
