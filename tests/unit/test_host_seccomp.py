"""A profile that keeps a file's project from being changed, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workers.seccomp import without_project_changes

PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read", "ioctl", "write"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["file_setattr"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
    ],
}


def allowed(document: dict[str, Any], request: int) -> bool:
    """Whether the kernel would let `ioctl` pass with this request, by the rules of seccomp."""
    rules = [rule for rule in document["syscalls"] if "ioctl" in rule["names"]]
    assert all(rule["args"][0]["op"] == "SCMP_CMP_MASKED_EQ" for rule in rules)
    return any(request & rule["args"][0]["value"] == rule["args"][0]["valueTwo"] for rule in rules)


@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_every_type_of_request_but_two(high: int) -> None:
    document = json.loads(without_project_changes(json.dumps(PROFILE)))
    for code in range(256):
        for rest in (0x40080000, 0xC0100020, 0x80040002):
            assert allowed(document, high | rest | code << 8) is (code not in (ord("X"), ord("f"))), code


def test_the_rest_of_the_profile_stays() -> None:
    document = json.loads(without_project_changes(json.dumps(PROFILE)))
    assert document["archMap"] == PROFILE["archMap"]
    names = [name for rule in document["syscalls"] for name in rule["names"]]
    assert set(names) == {"read", "write", "personality", "ioctl"}
    assert PROFILE["syscalls"][2] in document["syscalls"]


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}', '{"defaultAction": "SCMP_ACT_ERRNO"}'],
)
def test_what_is_no_such_profile_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        without_project_changes(text)
