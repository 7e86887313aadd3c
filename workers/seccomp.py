"""Seccomp profiles: which calls of the kernel a container may make, as the engine takes them.

The engine does not show its default, so a narrower one begins with the profile that the distribution keeps for engines.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

# Requests of `ioctl` carry a type in their second byte. FS_IOC_FSSETXATTR ("X") sets a file's project, FS_IOC_SETFLAGS
# ("f") whether a directory hands it on. Nothing else of these types is for programs without privileges.
TYPES = (ord("X"), ord("f"))
TYPE_BITS = range(8, 16)


def without_project_changes(profile: str) -> str:
    """The profile, JSON, without the calls that change which project a file is counted under. Raises ValueError."""
    document = json.loads(profile)
    try:
        if document["defaultAction"] != "SCMP_ACT_ERRNO":
            raise ValueError("it does not refuse what it does not name")
        rules = [_without_ioctl(rule) for rule in document["syscalls"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no seccomp profile of an engine: {error!r}") from None
    document["syscalls"] = [rule for rule in rules if rule["names"]]
    document["syscalls"] += [
        {"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [_bits(chosen)]} for chosen in _other_types()
    ]
    return json.dumps(document)


def _without_ioctl(rule: dict[str, Any]) -> dict[str, Any]:
    names = rule.get("names") or [rule["name"]]
    return {**rule, "names": [name for name in names if name not in ("ioctl", "file_setattr")]}


def _other_types() -> list[dict[int, int]]:
    """Bits and their values, of which every type but TYPES has one set and each of TYPES none.

    A profile can only say what is allowed, by bits that are as given. What is neither of two has a bit that
    differs from both, or one that differs from the first and one from the second.
    """
    first, second = ({bit: code >> (bit - 8) & 1 for bit in TYPE_BITS} for code in TYPES)
    same = [bit for bit in TYPE_BITS if first[bit] == second[bit]]
    pairs = itertools.permutations(sorted(set(TYPE_BITS) - set(same)), 2)
    return [{bit: 1 - first[bit]} for bit in same] + [{a: 1 - first[a], b: 1 - second[b]} for a, b in pairs]


def _bits(chosen: dict[int, int]) -> dict[str, Any]:
    """A condition on the request. The kernel looks at its lower half only, and so does a mask."""
    mask = sum(1 << bit for bit in chosen)
    return {
        "index": 1,
        "value": mask,
        "valueTwo": sum(value << bit for bit, value in chosen.items()),
        "op": "SCMP_CMP_MASKED_EQ",
    }
