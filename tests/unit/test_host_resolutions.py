"""Locks, and uv's explanations in words for a user."""

from __future__ import annotations

import tomllib

from common import lockfile
from common.states import Reason
from workers.resolutions import EXPLANATION_CHARACTERS, explanation, pins, project, unresolved
from workers.torch_builds import Supply

RESOLVED = """\
lock-version = "1.0"

[[packages]]
name = "torch"
version = "2.13.0+cpu"
marker = "sys_platform == 'linux'"
wheels = [{ url = "file:///wheels/torch-2.13.0%2Bcpu-cp311-cp311-linux_x86_64.whl", hashes = { sha256 = "AA" } }]

[[packages]]
name = "numpy"
version = "2.4.6"
wheels = [
  { url = "https://index.lab/numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl", size = 7, hashes = { sha256 = "BB" } },
  { url = "https://index.lab/numpy-2.4.6-py3-none-any.whl", hashes = { sha256 = "AA" } },
]
""".replace("AA", "a" * 64).replace("BB", "b" * 64)
CONFLICT = """\
error: No solution found when resolving dependencies
  cause: Because you require numpy<2 and numpy>=2, we can conclude that your requirements are unsatisfiable.

hint: You could ask for less.
"""


def test_a_lock_of_what_was_resolved() -> None:
    lock = lockfile.write(pins(tomllib.loads(RESOLVED)))
    assert lock.splitlines() == [
        f"numpy==2.4.6 --hash=sha256:{'a' * 64} --hash=sha256:{'b' * 64}",
        f"torch==2.13.0+cpu --hash=sha256:{'a' * 64}",
    ]
    assert "index.lab" not in lock


def test_pip_is_always_wanted() -> None:
    for lines in (["numpy"], ["pip", "numpy"]):
        assert tomllib.loads(project(lines, Supply()))["project"]["dependencies"] == ["numpy", "pip"]


def test_a_requirement_stays_one_text_in_the_project_file() -> None:
    lines = ['numpy; python_version < "3.12"', 'six; "\\n" != \'"]\n[tool.uv]\'']
    supply = Supply((("torch", 'https://index.lab/a"b'), ("torchvision", "/wheels")))
    read = tomllib.loads(project(lines, supply))
    assert set(read["project"]["dependencies"]) == {*lines, "pip"}
    assert read["tool"]["uv"]["sources"] == {n: {"index": f"{n}-builds"} for n in ("torch", "torchvision")}
    assert [index["url"] for index in read["tool"]["uv"]["index"]] == ['https://index.lab/a"b', "/wheels"]
    assert all(index["explicit"] for index in read["tool"]["uv"]["index"])


def test_an_explanation_in_one_line() -> None:
    assert explanation(CONFLICT) == (
        "Because you require numpy<2 and numpy>=2, we can conclude that your requirements are unsatisfiable. "
        "Hint: You could ask for less."
    )


def test_a_very_long_explanation_is_cut() -> None:
    text = explanation("Because " + "a" * 5000)
    assert len(text) == EXPLANATION_CHARACTERS
    assert text.endswith("…")


def test_a_conflict_is_the_users_and_a_silent_index_is_not() -> None:
    assert unresolved(CONFLICT).reason == Reason.LIBRARIES_UNRESOLVABLE
    assert unresolved(CONFLICT).detail == CONFLICT
    away = unresolved("error: Request failed after 3 retries\n  Caused by: Failed to fetch: `https://index.lab/`")
    assert away.reason == Reason.LIBRARIES_NOT_INSTALLED
    assert "index" in str(away)
