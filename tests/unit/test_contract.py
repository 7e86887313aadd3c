"""The contract: defaults, units, and every problem at once with its path."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import wire
from common import documents
from common.contract import Contract, Gpus, Image, Resources, gpus, parse
from common.errors import ContractError
from common.requirements import requirement

EXAMPLES = Path(__file__).parents[2] / "examples"
STRINGS = (
    "env-name", "version", "os.image-name", "os.version", "os.tags", "os.packages", "language.image-name",
    "language.version", "language.tags", "language.libraries", "language.lock", "resources.ram", "resources.cpu",
    "resources.gpu", "resources.storage", "lifetime", "priority", "wait",
)  # fmt: skip


def document(path: str, value: object) -> dict[str, Any]:
    """A contract with one value."""
    section, _, key = path.rpartition(".")
    return {section: {key: value}} if section else {key: value}


def problems(value: object) -> dict[str, str]:
    """What `parse` refuses, by path."""
    with pytest.raises(ContractError) as refused:
        parse(value)
    return {problem.path: problem.message for problem in refused.value.problems}


LOCK = f"six==1.17.0 --hash=sha256:{'a' * 64}\n"


def test_a_lock_instead_of_libraries() -> None:
    contract = parse({"language": {"lock": LOCK.replace(" --hash", " \\\n    --hash")}})
    assert contract.lock == LOCK
    assert parse(wire.document(contract)) == contract
    assert Contract.from_dict(contract.to_dict()) == contract


def test_a_lock_that_is_none_and_one_beside_libraries() -> None:
    assert "where a line has name==version" in problems({"language": {"lock": "six>=1"}})["language.lock"]
    assert "must be a string" in problems({"language": {"lock": [LOCK]}})["language.lock"]
    both = problems({"language": {"lock": LOCK, "libraries": ["six"]}})
    assert list(both) == ["language.lock"]
    assert "Leave language.libraries out" in both["language.lock"]
    assert "longer than" in problems({"language": {"lock": "#" * 60_000}})["language.lock"]


def test_an_empty_object_is_a_contract_of_defaults() -> None:
    assert parse({}) == Contract(
        name="",
        os=Image("debian", "12"),
        language=Image("python", "3.11"),
        resources=Resources(cpu_milli=1000, ram_mib=1908, storage_mib=9537),
    )


@pytest.mark.parametrize("path", STRINGS)
@pytest.mark.parametrize("value", ["", None, "  "])
def test_an_empty_value_means_the_default(path: str, value: str | None) -> None:
    assert parse(document(path, value)) == parse({})


@pytest.mark.parametrize("section", ["os", "language", "resources"])
@pytest.mark.parametrize("value", ["", None, {}])
def test_an_empty_section_means_its_defaults(section: str, value: object) -> None:
    assert parse({section: value}) == parse({})


def test_the_whole_contract() -> None:
    assert parse(
        {
            "env-name": "vision-lab",
            "version": 1,
            "os": {"image-name": "debian", "version": 12, "packages": ["libgl1", "git", "git"]},
            "language": {"version": 3.11, "libraries": ["Torch == 2.13.0", "numpy", "numpy"]},
            "resources": {"ram": "8GB", "cpu": 2, "gpu": "A100:80GB:4", "storage": "20GiB"},
            "lifetime": "8h",
            "priority": "7",
            "wait": True,
        }
    ) == Contract(
        name="vision-lab",
        os=Image("debian", "12"),
        language=Image("python", "3.11"),
        resources=Resources(2000, 7630, 20480, Gpus(4, "A100", 76294)),
        libraries=("torch==2.13.0", "numpy"),
        packages=("git", "libgl1"),
        lifetime_seconds=28800,
        priority=7,
        wait=True,
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1", Gpus(1)),
        ("0", Gpus()),
        ("H200:0", Gpus()),
        ("H200:2", Gpus(2, "H200")),
        ("40GB:1", Gpus(1, "", 38147)),
        ("80GiB:A100:4", Gpus(4, "A100", 81920)),
        ("NVIDIA H200 : 1", None),
        ("NVIDIA H200:1", Gpus(1, "NVIDIA H200")),
    ],
)
def test_gpus(text: str, wanted: Gpus | None) -> None:
    if wanted is None:
        with pytest.raises(ValueError, match="MODEL"):
            gpus(text)
    else:
        assert gpus(text) == wanted


@pytest.mark.parametrize(
    "text", ["-1", "1.5", "two", "1025", ":1", "A:B:1", "40GB:80GB:1", "H200", "H200:", "8:2", "H200;id:1",
             "A:80GB:C:1", "9TB:1", "999999999999999TB:1", "²"]
)  # fmt: skip
def test_what_is_no_gpu_request(text: str) -> None:
    assert set(problems({"resources": {"gpu": text}})) == {"resources.gpu"}


def test_every_problem_is_told_at_once_with_its_path() -> None:
    found = problems(
        {
            "env-name": "-x",
            "version": "2",
            "languages": {},
            "os": {"image-name": "../x", "packages": ["git", "--root"]},
            "language": {"version": "2.7", "libraries": ["numpy", "numpy; rm -rf /", "--index-url=http://x"]},
            "resources": {"ram": "-1GB", "cpu": [], "gpu": {}, "storage": "1B", "disk": 1},
            "priority": 10,
            "wait": "perhaps",
            "lifetime": "10w3000d",
        }
    )
    assert set(found) == {
        "env-name", "version", "languages", "os.image-name", "os.packages[1]", "language.version",
        "language.libraries[1]", "language.libraries[2]", "resources.ram", "resources.cpu", "resources.gpu",
        "resources.storage", "resources.disk", "priority", "wait", "lifetime",
    }  # fmt: skip
    assert "Did you mean 'language'?" in found["languages"]
    assert "option of an installer" in found["language.libraries[2]"]
    assert all(message.endswith((".", "?")) for message in found.values()), found


def test_a_package_that_apt_would_remove() -> None:
    with pytest.raises(ContractError) as caught:
        parse({"os": {"packages": ["g++", "less-"]}})
    assert [problem.path for problem in caught.value.problems] == ["os.packages[1]"]


@pytest.mark.parametrize("path", [p for p in STRINGS if p not in ("os.packages", "language.libraries")])
@pytest.mark.parametrize("value", [[], {}, ["x"], {"a": 1}, "x" * 257, "a\nb", "a\0b", "a\x1b[31m", "\u202eb", "1\n"])
def test_wrong_kinds_and_control_characters_are_refused_everywhere(path: str, value: object) -> None:
    assert set(problems(document(path, value))) == {path}


@pytest.mark.parametrize("path", ["os.packages", "language.libraries"])
@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\r", "\ud800", "", None, [], {}, True, "x" * 257, "-r"])
def test_wrong_entries_of_lists_are_refused_by_their_place(path: str, value: object) -> None:
    assert set(problems(document(path, ["numpy", value]))) == {f"{path}[1]"}


@pytest.mark.parametrize("value", [None, [], "text", 1, True])
def test_what_is_no_object_is_no_contract(value: object) -> None:
    assert set(problems(value)) == {""}


@pytest.mark.parametrize("section", ["os", "language", "resources"])
@pytest.mark.parametrize("value", [[], "text", 1, True])
def test_a_section_is_an_object(section: str, value: object) -> None:
    assert problems({section: value}) == {section: "must be an object."}


@pytest.mark.parametrize(
    "values",
    [{"ram": "0GB"}, {"ram": "1B"}, {"ram": "65TiB"}, {"cpu": "0"}, {"cpu": "5000"}, {"storage": "15MiB"},
     {"storage": "2000TiB"}, {"gpu": "1025"}],
)  # fmt: skip
def test_absurd_amounts_are_refused_with_the_range(values: dict[str, str]) -> None:
    [message] = problems({"resources": values}).values()
    assert "out of range" in message


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("numpy", "numpy"),
        ("NumPy>=2, <3", "numpy<3,>=2"),
        ("a_b.C[X_y,b]~=1.0", "a-b-c[b,x-y]~=1.0"),
        ("torch==2.13.0+cu130", "torch==2.13.0+cu130"),
        ("x; python_version >= '3.11'", 'x; python_version >= "3.11"'),
    ],
)
def test_a_library_becomes_canonical(text: str, canonical: str) -> None:
    assert requirement(text) == canonical
    assert requirement(canonical) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "numpy; rm -rf /", "numpy && id", "$(id)", "`id`", "numpy|id", "--index-url=http://x", "-r requirements.txt",
        "-e .", "git+https://example.org/x", "https://example.org/x.whl", "file:///etc/passwd",
        "numpy @ https://example.org/x",
        "./x", "../x", "/etc/passwd", "~/x", "C:\\x", "x/y", "nümpy", "numpу", "numpy==", "numpy=1", "==1", "[a]", ";",
        "numpy===$HOME", "numpy===x", "numpy; python_version == '${HOME}'", "numpy>=1 # comment", "a" * 101,
        "numpy --hash=sha256:00", "numpy\\\n-r x",
    ],
)  # fmt: skip
def test_what_is_no_library_by_name_is_refused(text: str) -> None:
    found = problems({"language": {"libraries": [text]}})
    assert set(found) == {"language.libraries[0]"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--pre", "option of an installer"),
        ("git+https://example.org/x", "names an address"),
        ("numpy @ https://example.org/x", "names an address"),
        ("./x", "is a path"),
        ("numpy; rm -rf /", "is a path"),
        ("numpy; rm -rf", "PEP 508"),
        ("x" * 257, "longer than 256 characters"),
    ],
)
def test_each_refused_library_has_its_reason(text: str, said: str) -> None:
    assert said in problems({"language": {"libraries": [text]}})["language.libraries[0]"]


def test_a_thousand_libraries_are_one_problem() -> None:
    found = problems({"language": {"libraries": [f"lib{n}" for n in range(1000)]}})
    assert found == {"language.libraries": "has 1000 entries; at most 200 are allowed."}


@pytest.mark.parametrize(
    "value",
    [
        {"language": {"libraries": ["a; " + "(" * 100 + "os_name=='a'" + ")" * 100] * 200}},
        {"language": {"libraries": ["a" + ">=1," * 60 + ">=1"] * 200}},
        {f"key{n}": n for n in range(documents.MAX_KEYS)},
        {"language": {f"k{'e' * 500}y{n}": n for n in range(documents.MAX_KEYS)}},
        {"resources": {"gpu": "a:" * 120 + "1"}},
        {"language": {"libraries": ["a" + ">=1," * 60 + "~1"] * 40}},
    ],
)
def test_a_hostile_contract_costs_little(value: dict[str, Any]) -> None:
    began = time.process_time()
    problems(value)
    assert time.process_time() - began < 0.1


def test_what_the_refusal_says_is_bounded() -> None:
    found = problems({"x" * 60_000: 1})
    [path] = found
    assert len(path) < 200


def contracts() -> st.SearchStrategy[Contract]:
    word = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)
    image = st.builds(Image, st.sampled_from(["debian", "ubuntu"]), st.just("12"), st.sampled_from(["", "slim"]))
    model = st.from_regex(r"[A-Z][A-Za-z]{2}[0-9]{0,3}( [A-Z]{1,3})?", fullmatch=True)
    some_gpus = st.builds(Gpus, st.integers(1, 1024), st.just("") | model, st.integers(0, 2**20))
    resources = st.builds(
        Resources,
        st.integers(10, 4_096_000),
        st.integers(16, 64 * 2**20),
        st.integers(16, 2**30),
        st.just(Gpus()) | some_gpus,
    )
    library = st.sampled_from(["numpy", "torch==2.13.0", "pandas[excel]>=2", 'x; python_version >= "3.11"', "a!=1,<3"])
    return st.builds(
        Contract,
        name=st.just("") | word,
        os=image,
        language=st.builds(Image, st.just("python"), st.sampled_from(["3.11", "3.10", "3.13.1"]), st.just("")),
        resources=resources,
        libraries=st.lists(library, unique=True).map(tuple),
        packages=st.lists(st.sampled_from(["git", "libgl1", "g++"]), unique=True).map(lambda p: tuple(sorted(p))),
        lifetime_seconds=st.integers(0, 5 * 365 * 86400),
        priority=st.integers(0, 9),
        wait=st.booleans(),
    )


@given(contracts())
def test_a_contract_written_as_a_document_is_the_same_contract(contract: Contract) -> None:
    assert parse(json.loads(json.dumps(wire.document(contract)))) == contract


@given(contracts())
def test_a_contract_survives_the_ledger(contract: Contract) -> None:
    assert Contract.from_dict(json.loads(json.dumps(contract.to_dict()))) == contract


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)
sections = st.sampled_from(["env-name", "version", "os", "language", "resources", "lifetime", "priority", "wait"])
keys = st.sampled_from(["image-name", "version", "tags", "libraries", "packages", "ram", "cpu", "gpu", "storage"])


@given(st.dictionaries(sections | st.text(max_size=10), values | st.dictionaries(keys, values, max_size=4), max_size=6))
def test_any_document_is_a_contract_or_is_refused(value: dict[str, Any]) -> None:
    try:
        contract = parse(value)
    except ContractError as error:
        refused = error
    else:
        assert parse(wire.document(contract)) == contract
        return
    assert refused.problems
    assert all(problem.message for problem in refused.problems)


def test_the_examples_that_the_papers_name_run_beside_each_other_on_two_cores() -> None:
    files = [EXAMPLES / f"{name}.json" for name in ("data-science", "torch")]
    assert sum(parse(documents.load(file.read_bytes(), "json")).resources.cpu_milli for file in files) <= 2000


@pytest.mark.parametrize("example", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_the_examples_are_contracts(example: Path) -> None:
    assert parse(documents.load(example.read_bytes(), documents.format_of("", example.name))).name == example.stem
