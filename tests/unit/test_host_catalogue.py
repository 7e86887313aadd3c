"""The catalogue: which base image a contract asks for, and an operator's own file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from common.contract import Contract, parse
from common.errors import ProvisionError, SettingsError
from common.settings import Settings
from workers import catalogue

OURS = catalogue.read(Settings(redis_url="redis://x"))
OWN = """
others: ["3.12"]
systems:
  lab/base:
    "1": {python: "3.11", image: "lab/base:1", variants: {big: "lab/base:1-big"}}
"""


def contract(system: str = "debian", version: str = "12", python: str = "3.11", tags: str = "") -> Contract:
    return parse({"os": {"image-name": system, "version": version, "tags": tags}, "language": {"version": python}})


@pytest.mark.parametrize(
    ("wanted", "runtime", "image", "suite", "own"),
    [
        (contract("debian", "11", "3.9"), "python:3.9-slim-bullseye", "debian:bullseye-slim", "bullseye", True),
        (contract(python="3.11.2"), "python:3.11.2-slim-bookworm", "debian:bookworm-slim", "bookworm", True),
        (contract("debian", "13", "3.13"), "python:3.13-slim-trixie", "debian:trixie-slim", "trixie", True),
        (contract(python="3.14"), "python:3.14-slim-bookworm", "debian:bookworm-slim", "bookworm", False),
        (contract("ubuntu", "24.04", "3.12"), "", "ubuntu:24.04", "", True),
        (contract("ubuntu", "22.04", "3.13"), "", "ubuntu:22.04", "", False),
        (contract("nvidia/cuda", "12.8", "3.12"), "", "nvidia/cuda:12.8.1-base-ubuntu24.04", "", True),
        (contract("nvidia/cuda", "12.8", "3.11", "devel"), "", "nvidia/cuda:12.8.1-devel-ubuntu24.04", "", False),
    ],
)
def test_recipes(wanted: Contract, runtime: str, image: str, suite: str, own: bool) -> None:
    recipe = OURS.recipe_for(wanted)
    assert (recipe.runtime, recipe.image, recipe.suite, recipe.own_python) == (runtime, image, suite, own)
    assert ("python3" in recipe.system_packages) == own


def test_a_tag_is_the_same_for_the_same_content_and_only_then() -> None:
    recipe = OURS.recipe_for(contract())
    assert recipe.tag == OURS.recipe_for(contract(tags="slim")).tag
    assert recipe.tag != OURS.recipe_for(contract(python="3.12")).tag
    assert recipe.tag != replace(recipe, packages=("git",)).tag
    assert recipe.tag != replace(recipe, revision=recipe.revision + 1).tag
    assert "/" not in OURS.recipe_for(contract("nvidia/cuda", "12.8", "3.12")).tag


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (contract(python="3.7"), "no Python 3.7 for Debian 12"),
        (contract(version="99"), "no debian 99"),
        (contract("plan9"), "no operating system 'plan9'"),
        (contract(tags="alpine"), "no variant 'alpine'"),
    ],
)
def test_what_is_not_to_be_had_is_said_with_what_is(wanted: Contract, words: str) -> None:
    with pytest.raises(ProvisionError, match=words) as caught:
        OURS.recipe_for(wanted)
    assert "debian 12 with python 3.11" in str(caught.value)


def test_an_operators_own_file(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(OWN)
    own = catalogue.read(Settings(redis_url="redis://x", catalogue=str(file)))
    assert own.recipe_for(contract("lab/base", "1", "3.12", "big")).image == "lab/base:1-big"
    with pytest.raises(ProvisionError, match="no operating system 'debian'"):
        own.recipe_for(contract())
    assert own.offers(registry=False, others=True) == ()
    (offer,) = own.offers(registry=True, others=True)
    assert (offer.language_versions, offer.tags) == (("3.11", "3.12"), ("", "big"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("systems: [", "line 1 is not YAML"),
        ("", "the file is not a mapping"),
        ("others: []", "`systems` names none"),
        ("oses: {}", "'oses', which is none of others, systems"),
        (OWN.replace('"3.12"', "3.12"), "others is 3.12, which is not a text. Put it in quotes"),
        (OWN.replace('"1"', "1"), "a version of lab/base is 1, which is not a text"),
        (OWN.replace("image:", "imgae:"), "lab/base 1 has 'imgae'"),
        (OWN.replace('image: "lab/base:1", ', ""), "lab/base 1 has none of suite, image and runtime"),
        (OWN.replace('"lab/base:1-big"', '"--privileged"'), "variant big of lab/base 1 is '--privileged'"),
        (OWN.replace("python:", "needs: [--allow-all], python:"), "needs of lab/base 1 is '--allow-all'"),
        (OWN.replace('{python: "3.11", image', '{python: "3.11", suite: "a b", image'), "suite of lab/base 1 is 'a b'"),
    ],
)
def test_a_broken_file_is_a_clear_sentence(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        catalogue.read(Settings(redis_url="redis://x", catalogue=str(file)))
    assert words in str(caught.value)
    assert f"DCLOUD_CATALOGUE is {file}" in str(caught.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(SettingsError, match=r"DCLOUD_CATALOGUE is /nowhere/x\.yaml, which cannot be read"):
        catalogue.read(Settings(redis_url="redis://x", catalogue="/nowhere/x.yaml"))
