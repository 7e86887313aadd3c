"""Locks, and uv's explanations in words for a user."""

from __future__ import annotations

from common.states import Reason
from workers.resolutions import EXPLANATION_CHARACTERS, explanation, packages, unresolved, wanted

LOCK = """\
numpy==2.4.6 \\
    --hash=sha256:89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93
pip==26.3 \\
    --hash=sha256:6c36ae7da8695be67e3cd9f7d87919667ced53f57ce2ede75d89b5912ed2bc4c \\
    --hash=sha256:f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13
torch==2.13.0+cpu ; python_version >= "3.8" \\
    --hash=sha256:aa
"""
CONFLICT = """\
error: No solution found when resolving dependencies
  cause: Because you require numpy<2 and numpy>=2, we can conclude that your requirements are unsatisfiable.

hint: You could ask for less.
"""


def test_packages_of_a_lock() -> None:
    assert packages(LOCK) == ["numpy==2.4.6", "pip==26.3", "torch==2.13.0+cpu"]


def test_pip_is_always_wanted() -> None:
    assert wanted(("numpy",)) == ["numpy", "pip"]
    assert wanted(("pip", "numpy")) == ["numpy", "pip"]


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
