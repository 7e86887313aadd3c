"""Other tools' files as contracts: what is taken, what is named, and that no file costs more than it may."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import contract
from common.errors import ContractError
from common.imports import FORMATS, Runtime, convert, format_of
from common.imports.formats import MAX_BYTES, MAX_LOCK_BYTES

RUNTIMES = [Runtime("debian", "11", "3.9"), Runtime("debian", "12", "3.11"), Runtime("debian", "13", "3.13")]


def imported(kind: str, text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The contract, and what is left out by its place."""
    found = convert(text.encode(), kind, RUNTIMES)
    contract.parse(found.contract)
    return found.contract, {problem.path: problem.message for problem in found.left_out}


def libraries(kind: str, text: str) -> list[str]:
    found: list[str] = imported(kind, text)[0]["language"]["libraries"]
    return found


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("requirements.txt", "requirements.txt"),
        ("dir/requirements-dev.in", "requirements.txt"),
        ("C:\\x\\environment.yaml", "environment.yml"),
        (".devcontainer.json", "devcontainer.json"),
        ("pyproject.toml", "pyproject.toml"),
        ("uv.lock", "uv.lock"),
        ("contract.json", ""),
        ("", ""),
    ],
)
def test_the_name_says_the_format(name: str, kind: str) -> None:
    assert format_of(name) == kind


def test_requirements() -> None:
    text = """
        # what we need
        numpy>=2,<3  # arrays
        torch==2.13.0 \\
            --hash=sha256:aa --hash=sha256:bb
        pandas[excel] ; python_version < "3.13"
        -r more.txt
        --index-url https://example.org/simple
        ./local
        git+https://example.org/x.git
        x @ https://example.org/x.whl
        numpy>=2,<3
    """
    found, left = imported("requirements.txt", text)
    assert found["language"]["libraries"] == [
        "numpy<3,>=2", "torch==2.13.0", 'pandas[excel]; python_version < "3.13"'
    ]  # fmt: skip
    assert found["os"] == {"image-name": "debian", "version": "12"}
    assert set(left) == {"hashes", "line 7", "line 8", "line 9", "line 10", "line 11"}
    assert left["hashes"].startswith("2 hashes")
    assert "-r more.txt" in left["line 7"]


def test_a_project() -> None:
    found, left = imported("pyproject.toml", """
        [project]
        name = "Vision Lab!"
        requires-python = ">=3.12"
        dependencies = ["numpy", "torch; sys_platform == 'linux'", "x @ file:///etc/passwd"]
        [project.optional-dependencies]
        dev = ["pytest"]
        [dependency-groups]
        docs = ["sphinx"]
        [tool.ruff]
        line-length = 120
    """)  # fmt: skip
    assert found["env-name"] == "Vision-Lab"
    assert found["language"]["version"] == "3.13"
    assert found["os"]["version"] == "13"
    assert found["language"]["libraries"] == ["numpy", 'torch; sys_platform == "linux"']
    assert set(left) == {"project.dependencies[2]", "project.optional-dependencies.dev", "dependency-groups.docs"}


def test_poetry() -> None:
    found, left = imported("pyproject.toml", """
        [tool.poetry]
        name = "old"
        [tool.poetry.dependencies]
        python = "^3.9"
        numpy = "^1.26.4"
        zero = "^0.2.3"
        near = "~2.1"
        exact = "2.0.0"
        any = "*"
        many = {version = ">=1,<2", extras = ["a", "b"]}
        from-git = {git = "https://example.org/x.git"}
        either = "^1 || ^2"
    """)  # fmt: skip
    assert found["language"]["version"] == "3.11"
    assert found["language"]["libraries"] == [
        "numpy<2,>=1.26.4", "zero<0.3,>=0.2.3", "near<2.2,>=2.1", "exact==2.0.0", "any", "many[a,b]<2,>=1"
    ]  # fmt: skip
    assert set(left) == {"tool.poetry.dependencies.from-git", "tool.poetry.dependencies.either"}


def test_conda() -> None:
    found, left = imported("environment.yml", """
name: lab
channels: [conda-forge]
dependencies:
  - python=3.9
  - conda-forge::numpy=1.26
  - pytorch==2.1.0=py3.9_cuda12
  - pandas >=2,<3
  - scipy=1.11.*
  - cudatoolkit=11.8
  - libgcc-ng
  - pip
  - pip:
    - requests
    - -e .
prefix: /home/ada/conda
""")  # fmt: skip
    assert (found["env-name"], found["language"]["version"], found["os"]["version"]) == ("lab", "3.9", "11")
    assert found["language"]["libraries"] == [
        "numpy==1.26.*", "torch==2.1.0", "pandas<3,>=2", "scipy==1.11.*", "requests"
    ]  # fmt: skip
    assert set(left) == {
        "channels", "dependencies[2]", "dependencies[5]", "dependencies[6]", "dependencies[8].pip[1]", "prefix"
    }  # fmt: skip
    assert "torch" in left["dependencies[2]"]


def test_a_devcontainer() -> None:
    found, left = imported("devcontainer.json", """
    // comment
    {
        "name": "Lab /* not a comment */ // nor this",
        "image": "mcr.microsoft.com/devcontainers/python:1-3.13-bookworm", /* a
        comment */
        "features": {
            "ghcr.io/rocker-org/devcontainer-features/apt-packages:1": {"packages": "git, libgl1 BAD;rm"},
            "ghcr.io/devcontainers/features/docker-in-docker:2": {},
        },
        "hostRequirements": {"cpus": 4, "memory": "8gb", "storage": "32gb", "gpu": {"cores": 10, "memory": "16gb"}},
        "postCreateCommand": "rm -rf /", // the last
    }
    """)  # fmt: skip
    assert found["env-name"] == "Lab-not-a-comment-nor-this"
    assert found["language"]["version"] == "3.13"
    assert found["os"]["packages"] == ["git", "libgl1"]
    assert found["resources"] == {"cpu": "4", "ram": "8GB", "storage": "32GB", "gpu": "16GB:1"}
    assert set(left) == {
        "packages", "features.ghcr.io/devcontainers/features/docker-in-docker:2", "hostRequirements.gpu.cores",
        "postCreateCommand",
    }  # fmt: skip


def test_a_lock_of_uv() -> None:
    text = """version = 1
revision = 3
requires-python = ">=3.11, <3.12"

[[package]]
name = "lab"
version = "0.1.0"
source = { virtual = "." }
dependencies = [
    { name = "numpy" },
]

[[package]]
name = "numpy"
version = "2.4.6"
source = { registry = "https://pypi.org/simple" }
wheels = [
    { url = "https://files.pythonhosted.org/numpy.whl", hash = "sha256:aa", size = 1 },
]

[package.metadata]
name = "nothing"

[[package]]
name = "ours"
version = "1.0"
source = { git = "https://example.org/ours" }

[[package]]
name = "numpy"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
"""
    found, left = imported("uv.lock", text)
    assert found["env-name"] == "lab"
    assert found["language"]["version"] == "3.11"
    assert found["language"]["libraries"] == ["numpy==2.4.6"]
    assert set(left) == {"package.ours", "package.numpy"}


def test_our_own_files_can_be_imported() -> None:
    root = Path(__file__).parents[2]
    found = convert((root / "pyproject.toml").read_bytes(), "pyproject.toml", RUNTIMES)
    assert found.contract["env-name"] == "dcloud"
    assert any(library.startswith("flask") for library in found.contract["language"]["libraries"])


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [("", "3.11"), (">=3.8", "3.11"), ("<3.10", "3.9"), (">=3.11.4", "3.11"), ("==3.13.*", "3.13"), (">=3.12", "3.13")],
)
def test_the_python_that_suits_best(wanted: str, chosen: str) -> None:
    text = f'[project]\nname = "x"\nrequires-python = "{wanted}"' if wanted else "[project]"
    found, left = imported("pyproject.toml", text)
    assert found["language"]["version"] == chosen
    assert "python" not in left


def test_a_python_that_nobody_has_is_kept_and_named() -> None:
    found, left = imported("environment.yml", "dependencies: [python=3.7]")
    assert found["language"]["version"] == "3.7"
    assert "3.9, 3.11, 3.13" in left["python"]


def test_too_much_is_named_and_not_taken() -> None:
    found, left = imported("requirements.txt", "\n".join(f"library-{n}" for n in range(1000)))
    assert len(found["language"]["libraries"]) == 200
    assert "600 more things" in left[""]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("pyproject.toml", "x"),
        ("environment.yml", "- a"),
        ("environment.yml", "a: &x [1]\nb: *x"),
        ("environment.yml", "a: !!python/object/apply:os.system [ls]"),
        ("devcontainer.json", "[]"),
        ("devcontainer.json", '{"a": 1, "a": 2}'),
        ("uv.lock", "version = 2"),
        ("requirements.txt", "x" * (MAX_BYTES + 1)),
        ("uv.lock", "x" * (MAX_LOCK_BYTES + 1)),
        ("requirements.txt", b"\xff".decode("latin-1").encode("latin-1").decode("utf-8", "surrogateescape")),
    ],
)
def test_what_is_no_such_file_is_refused(kind: str, text: str) -> None:
    with pytest.raises(ContractError):
        convert(text.encode("utf-8", "surrogateescape"), kind, RUNTIMES)


HOSTILE = [
    "/*" * 32_000,
    "," + "/* */" * 12_000 + "x",
    "{" * 20_000,
    '"' * 60_000,
    " " * 60_000,
    "a" * 60_000,
    "a." * 30_000 + "= 1",
    "a==" * 20_000,
    "- " * 30_000,
    "dependencies: [" + "a=1=" * 15_000 + "]",
    '{"image": "' + "a/" * 30_000 + '"}',
    "\\\n" * 30_000,
    "#" * 60_000,
    "[[package]]\n" * 5_000,
    "a --hash=" * 6_000,
]


@pytest.mark.parametrize("kind", list(FORMATS))
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_a_hostile_file_costs_little(kind: str, text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(ContractError):
        convert(text.encode(), kind, RUNTIMES)
    assert time.process_time() - began < 1


def test_a_lock_as_large_as_may_be_costs_little() -> None:
    package = '[[package]]\nname = "p{}"\nversion = "1"\nsource = {{ registry = "x" }}\n\n'
    text = "version = 1\n\n" + "".join(package.format(n) for n in range(10_000))
    began = time.process_time()
    assert len(libraries("uv.lock", text)) == 200
    assert time.process_time() - began < 1


WORDS = "numpy ==1 >=2 - [ ] { } : , = dependencies project python pip é # // /* */ tool.poetry name [[package]] ~ ^"
PIECES = st.sampled_from([*WORDS.split(), "\n", " ", '"', "'", "\\", "\x00", "\u202e", "version = 1"])


@settings(max_examples=150)
@given(st.sampled_from(list(FORMATS)), st.lists(PIECES, max_size=40))
def test_any_text_is_a_contract_or_refused(kind: str, pieces: list[str]) -> None:
    try:
        found = convert("".join(pieces).encode(), kind, RUNTIMES)
    except ContractError:
        return
    contract.parse(found.contract)
