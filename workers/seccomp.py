"""Seccomp profiles: which calls of the kernel a container may make, as the engine takes them.

The engine does not show its default, so a narrower one begins with the profile that the distribution keeps for engines.
That one lets programs without capabilities make user name spaces and mounts in them, which the engine's default does
not; neither does what comes of it here.
"""

from __future__ import annotations

import errno
import itertools
import json
from typing import Any

# Requests of `ioctl` carry a type in their second byte. FS_IOC_FSSETXATTR ("X") sets a file's project, FS_IOC_SETFLAGS
# ("f") whether a directory hands it on. Nothing else of these types is for programs without privileges.
TYPES = (ord("X"), ord("f"))
TYPE_BITS = range(8, 16)

# Name spaces, mounts and the kernel's keys, which are not apart between containers.
KEPT_FROM_ALL = frozenset(
    {
        *("unshare", "setns", "mount", "umount", "umount2", "pivot_root", "mount_setattr", "move_mount", "open_tree"),
        *("fsopen", "fsconfig", "fsmount", "fspick", "keyctl", "add_key", "request_key"),
    }
)
NEW_NAME_SPACES = 0x7E020000  # flags of `clone` that make one: mount, cgroup, UTS, IPC, user, PID, network (sched.h)
REPLACED = frozenset({"ioctl", "clone", "clone3", "file_setattr"})  # the last has no other form: it sets projects


def narrowed(profile: str) -> str:
    """The profile, JSON, without the calls that change which project a file is counted under, and without name spaces,
    mounts and keys. Raises ValueError.
    """
    document = json.loads(profile)
    try:
        if document["defaultAction"] != "SCMP_ACT_ERRNO":
            raise ValueError("it does not refuse what it does not name")
        rules = [_without(rule) for rule in document["syscalls"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no seccomp profile of an engine: {error!r}") from None
    document["syscalls"] = [
        *(rule for rule in rules if rule["names"]),
        _allow("clone", 0, NEW_NAME_SPACES, 0),
        # its flags are in memory, where a profile cannot look; C libraries that are told that it is missing use `clone`
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        *(_allow("ioctl", 1, *_mask(bits)) for bits in _other_types()),
    ]
    return json.dumps(document)


def _without(rule: dict[str, Any]) -> dict[str, Any]:
    names = rule.get("names") or [rule["name"]]
    kept = [name for name in names if name not in KEPT_FROM_ALL | REPLACED]
    return {**{key: value for key, value in rule.items() if key != "name"}, "names": kept}


def _other_types() -> list[dict[int, int]]:
    """Bits and their values, of which every type but TYPES has one set and each of TYPES none.

    A profile can only say what is allowed, by bits that are as given. What is neither of two has a bit that
    differs from both, or one that differs from the first and one from the second.
    """
    first, second = ({bit: code >> (bit - 8) & 1 for bit in TYPE_BITS} for code in TYPES)
    same = [bit for bit in TYPE_BITS if first[bit] == second[bit]]
    pairs = itertools.permutations(sorted(set(TYPE_BITS) - set(same)), 2)
    return [{bit: 1 - first[bit]} for bit in same] + [{a: 1 - first[a], b: 1 - second[b]} for a, b in pairs]


def _mask(bits: dict[int, int]) -> tuple[int, int]:
    """These bits as one number, and their values as another. The kernel looks at the lower half of a request only."""
    return sum(1 << bit for bit in bits), sum(value << bit for bit, value in bits.items())


def _allow(name: str, argument: int, mask: int, value: int) -> dict[str, Any]:
    """The call where the bits of `mask` in its argument are those of `value`."""
    condition = {"index": argument, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [condition]}
