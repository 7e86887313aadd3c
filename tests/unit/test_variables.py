"""Variables of a contract: names and values that are taken, and those that are not a user's to set."""

from __future__ import annotations

from pathlib import Path

import pytest

from api import wire
from common.contract import Contract, parse
from common.errors import ContractError
from common.variables import MAX_VARIABLES, REFUSED


def test_they_are_kept_and_written_back() -> None:
    contract = parse({"variables": {"HF_HOME": "/workspace/models", "A": 1, "_b2": "", "B": 1.5}})
    assert contract.variables == (("A", "1"), ("B", "1.5"), ("HF_HOME", "/workspace/models"), ("_b2", ""))
    assert Contract.from_dict(contract.to_dict()) == contract
    assert parse(wire.document(contract)) == contract
    assert parse({"variables": None}).variables == parse({"variables": ""}).variables == parse({}).variables == ()
    old = contract.to_dict()
    del old["variables"]
    assert Contract.from_dict(old).variables == (), "a contract of before there were any"


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA_VISIBLE_DEVICES", "nvidia_driver_capabilities", "CUDA_VISIBLE_DEVICES", "LD_PRELOAD", "LD_", "PATH",
        "HOME", "DCLOUD_ENVIRONMENT", "GLIBC_TUNABLES", "BASH_ENV", "1A", "A B", "A=B", "", "Ä", "A\nB", "a" * 129,
    ],
)  # fmt: skip
def test_names_that_are_refused_by_their_path(name: str) -> None:
    with pytest.raises(ContractError) as caught:
        parse({"variables": {name: "x", "GOOD": "x"}})
    (problem,) = caught.value.problems
    assert problem.path.startswith("variables.")


@pytest.mark.parametrize(
    "name", ["CUDA_LAUNCH_BLOCKING", "OLD_PATH", "OMP_NUM_THREADS", "PYTHONPATH", "LANG", "MY_HOME"]
)
def test_names_that_are_like_those(name: str) -> None:
    assert parse({"variables": {name: "x"}}).variables == ((name, "x"),)


@pytest.mark.parametrize(
    "variables",
    [
        [], "A=1", 5, {"A": None}, {"A": True}, {"A": {}}, {"A": "x\ny"}, {"A": "\0"},
        {f"A{n}": "x" for n in range(MAX_VARIABLES + 1)}, {"A": "x" * 16_384},
    ],
)  # fmt: skip
def test_values_that_are_refused(variables: object) -> None:
    with pytest.raises(ContractError):
        parse({"variables": variables})


def test_the_document_lists_what_is_refused() -> None:
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    assert {name for name in REFUSED if f"`{name}`" not in text} == set()
