"""A profile that keeps a file's project from being changed, and nothing else."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from workers.seccomp import narrowed

PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read", "ioctl", "write"], "action": "SCMP_ACT_ALLOW"},
        {"name": "file_setattr", "action": "SCMP_ACT_ALLOW"},
        {"name": "close", "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone", "clone3", "unshare", "mount", "keyctl"], "action": "SCMP_ACT_ALLOW"},
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
    document = json.loads(narrowed(json.dumps(PROFILE)))
    for code in range(256):
        for rest in (0x40080000, 0xC0100020, 0x80040002):
            assert allowed(document, high | rest | code << 8) is (code not in (ord("X"), ord("f"))), code


def test_the_rest_of_the_profile_stays() -> None:
    document = json.loads(narrowed(json.dumps(PROFILE)))
    assert document["archMap"] == PROFILE["archMap"]
    names = [name for rule in document["syscalls"] for name in rule["names"]]
    assert set(names) == {"read", "write", "close", "personality", "ioctl", "clone", "clone3"}
    assert PROFILE["syscalls"][-1] in document["syscalls"]
    assert not any("name" in rule for rule in document["syscalls"])  # the engine takes one of both


def test_no_name_spaces() -> None:
    document = json.loads(narrowed(json.dumps(PROFILE)))
    rules = {rule["names"][0]: rule for rule in document["syscalls"] if rule["names"][0].startswith("clone")}
    condition = rules["clone"]["args"][0]
    for flags, fine in ((0, True), (0x003D0F00, True), (0x10000000, False), (0x00020000, False), (0x02000000, False)):
        assert (flags & condition["value"] == condition["valueTwo"]) is fine, hex(flags)  # the second is a thread's
    assert (rules["clone3"]["action"], rules["clone3"]["errnoRet"]) == ("SCMP_ACT_ERRNO", errno.ENOSYS)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}', '{"defaultAction": "SCMP_ACT_ERRNO"}'],
)
def test_what_is_no_such_profile_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        narrowed(text)
