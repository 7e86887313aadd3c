"""Compiled files are the same bytes for the same source, whatever else a process has seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from workers import bytecode

SOURCE = '''
def f(alpha, beta=1, *, gamma="x"):
    """Text."""
    kinds = {"one", "two", "three"}
    if alpha in {"red", "green", "blue", "w", "y"}:
        return [beta for delta in range(255) if delta not in (1, 2, "q")]
    return lambda: (alpha, gamma, kinds, b"z", 1.5, "unusual_name_of_a_thing")
'''
# A process that has seen other things: names that are held elsewhere, another order of sets.
OTHER = """
import sys
sys.path.insert(0, sys.argv[1])
held = [sys.intern(word) for word in ("alpha", "gamma", "unusual_name_of_a_thing", "w", "q")]
from workers import bytecode
sys.stdout.buffer.write(bytecode.compiled(open(sys.argv[2], "rb").read(), "library/module.py"))
"""
ROOT = Path(__file__).parents[2]


def test_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(SOURCE)
    command = [sys.executable, "-c", OTHER, str(ROOT), str(tmp_path / "module.py")]
    written = [
        subprocess.run(command, capture_output=True, check=True, env={"PYTHONHASHSEED": str(seed)}).stdout
        for seed in (1, 2)
    ]
    assert written[0] == written[1] == bytecode.compiled(SOURCE.encode(), "library/module.py")


def test_a_tree_is_compiled_and_works(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/good.py").write_text(SOURCE)
    (tmp_path / "pkg/for_another_python.py").write_text("print 'hello'")
    (tmp_path / "pkg-1.0.data/platlib").mkdir(parents=True)
    (tmp_path / "pkg-1.0.data/platlib/moved.py").write_text(SOURCE)  # the installer knows each file that it moves
    command = [sys.executable, "-I", "-S", "-c", Path(bytecode.__file__).read_text(), str(tmp_path)]
    said = subprocess.run(command, capture_output=True, check=True, text=True)
    assert sorted(said.stdout.split()) == sorted(
        ["Compiling", f"{tmp_path}/pkg/good.py", "Compiling", f"{tmp_path}/pkg/for_another_python.py"]
    )
    (compiled,) = (tmp_path / "pkg/__pycache__").iterdir()
    assert compiled.name == f"good.{sys.implementation.cache_tag}.pyc"
    assert f"{tmp_path}".encode() not in compiled.read_bytes()
    # Python takes it, and tells the true path
    look = "import sys; sys.path.insert(0, sys.argv[1]); from pkg import good; "
    look += "print(good.__cached__, good.f.__code__.co_filename)"
    told = subprocess.run([sys.executable, "-v", "-c", look, str(tmp_path)], capture_output=True, check=True, text=True)
    assert told.stdout.split() == [str(compiled), f"{tmp_path}/pkg/good.py"]
    assert f"matches {tmp_path}/pkg/good.py" in told.stderr


def test_an_edit_counts(tmp_path: Path) -> None:
    assert bytecode.compiled(b"a = 1", "x.py") != bytecode.compiled(b"a = 2", "x.py")
