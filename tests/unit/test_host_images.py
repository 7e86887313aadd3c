"""Recipes of base images, and what the maker of one says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.contract import Contract, parse
from common.errors import ProvisionError
from workers.catalogue import recipe_for
from workers.mirror import _Steps, mirror_lines


def contract(os_version: str = "12", python: str = "3.11", **more: str) -> Contract:
    return parse(
        {
            "os": {"image-name": more.get("os", "debian"), "version": os_version, "tags": more.get("tags", "")},
            "language": {"version": python},
        }
    )


@pytest.mark.parametrize(
    ("os_version", "python", "image"),
    [
        ("11", "3.9", "python:3.9-slim-bullseye"),
        ("12", "3.11", "python:3.11-slim-bookworm"),
        ("12", "3.11.2", "python:3.11.2-slim-bookworm"),
        ("13", "3.13", "python:3.13-slim-trixie"),
    ],
)
def test_recipes(os_version: str, python: str, image: str) -> None:
    assert recipe_for(contract(os_version, python)).image == image


def test_a_tag_is_the_same_for_the_same_content_and_only_then() -> None:
    recipe = recipe_for(contract())
    assert recipe.tag == recipe_for(contract(tags="slim")).tag
    assert recipe.tag != replace(recipe, packages=("git",)).tag
    assert recipe.tag != replace(recipe, revision=recipe.revision + 1).tag


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (contract(python="3.10"), "comes with Python 3.11, not 3.10"),
        (contract("99"), "no debian 99"),
        (contract(os="plan9"), "no operating system 'plan9'"),
        (contract(tags="alpine"), "no variant 'alpine'"),
    ],
)
def test_what_is_not_to_be_had_is_said_with_what_is(wanted: Contract, words: str) -> None:
    with pytest.raises(ProvisionError, match=words) as caught:
        recipe_for(wanted)
    assert "debian 12 with python 3.11" in str(caught.value)


KIN = frozenset({"bullseye", "bookworm", "trixie"})
TARGETS = """\
Packages http://vendor.lab/debian/ bookworm contrib
Packages http://mirror.lab/debian/ bookworm main
Packages http://mirror.lab/debian/ bookworm-updates main
Packages http://mirror.lab/security/ bookworm-security main
Translations http://elsewhere.lab/debian/ bookworm main
Packages https://tools.lab/ stable main
"""


def test_any_suite_comes_from_the_mirror_of_its_kin() -> None:
    assert mirror_lines("trixie", KIN, TARGETS) == [
        "deb http://mirror.lab/debian/ trixie main",
        "deb http://mirror.lab/debian/ trixie-updates main",
        "deb http://mirror.lab/security/ trixie-security main",
    ]


def test_a_machine_of_another_kind_names_no_mirror() -> None:
    assert mirror_lines("bookworm", KIN, "Packages http://mirror.lab/ubuntu/ noble main\n") == []
    assert mirror_lines("bookworm", KIN, "") == []


def test_the_bar_moves_with_packages_and_never_back() -> None:
    steps, seen = _Steps(), []
    lines = ["I: running apt-get update...", "0 upgraded, 60 newly installed, 0 to remove"]
    lines += [f"Get:{n} http://mirror.lab/debian bookworm/main amd64 p{n}" for n in range(60)]
    lines += [f"Unpacking p{n} (1.0) ..." for n in range(60)]
    lines += ["0 upgraded, 70 newly installed, 0 to remove"]
    lines += [f"Setting up p{n} (1.0) ..." for n in range(60)]
    said = []
    for line in lines:
        said.append(steps.read(line))
        seen.append(steps.fraction)
    assert seen == sorted(seen)
    assert 0.4 < seen[-1] <= 1
    assert said[0] == "running apt-get update..."
    assert "Downloading packages" in said
    assert said[-1] == "Setting up p59"
