"""What `make check` looks for beside the tools: addresses of one machine, and known vulnerabilities."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy import audit, hygiene


def test_a_host_that_this_machine_is_set_up_with_is_found_with_its_place() -> None:
    text = "first\nMIRROR = 'http://packages.lab.example/debian'\n"
    assert hygiene.find(Path("workers/images.py"), text, ["packages.lab.example"]) == [
        "workers/images.py:2: packages.lab.example"
    ]


def test_a_lock_names_no_address_at_all() -> None:
    lock = Path("deploy/requirements.txt")
    assert hygiene.find(lock, "--index-url https://somewhere/simple\nsix==1.17.0\n", []) == [
        "deploy/requirements.txt:1: https://"
    ]
    assert hygiene.find(Path("README.md"), "https://somewhere\n", []) == []


def test_words_are_text_and_no_pattern() -> None:
    assert hygiene.find(Path("x.py"), "pypiXorg", ["pypi.org"]) == []


def test_each_vulnerability_is_a_line() -> None:
    flaw = {"id": "CVE-1", "fix_versions": ["2.0"], "aliases": [], "description": ""}
    found = [{"name": "six", "version": "1.0", "vulns": [flaw]}, {"name": "redis", "version": "8", "vulns": []}]
    assert audit.report(found) == (["six 1.0: CVE-1, fixed in 2.0"], "")


@pytest.mark.parametrize(
    ("known", "remark"),
    [
        (0, "not done: the package index here has no word on vulnerabilities"),
        (1, "ok, 1 packages unknown to the service"),
        (2, ""),
    ],
)
def test_a_service_that_knows_nothing_is_said_and_is_no_failure(known: int, remark: str) -> None:
    packages: list[dict[str, object]] = [{"name": "six", "skip_reason": "not found"} for _ in range(2 - known)]
    packages += [{"name": "redis", "version": "8", "vulns": []} for _ in range(known)]
    assert audit.report(packages) == ([], remark)
