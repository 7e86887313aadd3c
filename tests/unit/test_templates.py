"""What a document means together with a template, and that those that ship are contracts."""

from __future__ import annotations

from typing import Any

import pytest

from common import contract
from common.templates import NAME, _shipped, filled

TEMPLATE = {
    "language": {"version": "3.11", "libraries": ["torch", "numpy"]},
    "resources": {"ram": "8GB", "cpu": "2"},
}


@pytest.mark.parametrize(
    ("document", "meaning"),
    [
        ({}, TEMPLATE),
        ({"env-name": "x"}, {**TEMPLATE, "env-name": "x"}),
        (
            {"resources": {"gpu": "1", "ram": "", "cpu": None}},
            {**TEMPLATE, "resources": {"ram": "8GB", "cpu": "2", "gpu": "1"}},
        ),
        ({"language": {"libraries": ["jax"]}}, {**TEMPLATE, "language": {"version": "3.11", "libraries": ["jax"]}}),
        ({"language": {"libraries": []}}, {**TEMPLATE, "language": {"version": "3.11", "libraries": []}}),
        ({"language": "", "resources": None}, TEMPLATE),
        ({"language": {"lock": "x"}}, {**TEMPLATE, "language": {"version": "3.11", "lock": "x"}}),
        ({"wait": False, "priority": 0}, {**TEMPLATE, "wait": False, "priority": 0}),
        ({"resources": []}, {**TEMPLATE, "resources": []}),  # the contract's own schema has a word for that
    ],
)
def test_what_a_document_says_counts_and_the_rest_is_the_templates(
    document: dict[str, Any], meaning: dict[str, Any]
) -> None:
    before = repr(TEMPLATE)
    assert filled(TEMPLATE, document) == meaning
    assert repr(TEMPLATE) == before


def test_a_lock_gives_way_to_libraries() -> None:
    assert filled({"language": {"lock": "x"}}, {"language": {"libraries": ["numpy"]}}) == {
        "language": {"libraries": ["numpy"]}
    }


def test_those_that_ship_are_contracts() -> None:
    assert set(_shipped()) == {"python", "data-science", "pytorch", "tensorflow", "jax"}
    for template in _shipped().values():
        assert contract.parse(template.contract)
        assert NAME.fullmatch(template.name)
        assert template.title
        assert template.description
