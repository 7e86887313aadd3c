"""The schema of contracts. A test compares its keys with those that are read."""

from __future__ import annotations

from typing import Any

from api.openapi.pieces import Json


def word(description: str, default: str, *examples: Any) -> Json:
    """A value of a contract: text, or a number without quotes; empty or null is the default."""
    return {
        "type": ["string", "number", "null"], "maxLength": 256, "description": description, "default": default,
        "examples": list(examples),
    }  # fmt: skip


def words(description: str, most: int, *examples: str) -> Json:
    """A list of a contract."""
    return {
        "type": ["array", "string", "null"], "items": {"type": ["string", "number"], "maxLength": 256},
        "maxItems": most, "maxLength": 256, "description": description, "default": [], "examples": [list(examples)],
    }  # fmt: skip


def section(description: str, **properties: Json) -> Json:
    """An object of a contract; empty or null is all defaults."""
    return {
        "anyOf": [
            {"type": "object", "properties": properties, "additionalProperties": False},
            {"type": "null"},
            {"type": "string", "maxLength": 0},
        ],
        "description": description,
    }


CONTRACT: Json = {
    "type": "object",
    "description": "What an environment is asked for. Everything may be left out, and every value may be text.",
    "properties": {
        "env-name": word("1 to 63 letters, digits, `_`, `.` and `-`; by default the id", "", "vision-lab"),
        "version": word("of the contract's own format", "1", "1"),
        "os": section(
            "the operating system; the catalogue has those that there are",
            **{
                "image-name": word("its name", "debian", "debian"),
                "version": word("its version", "12", "12"),
                "tags": word("its variant", "", "slim"),
                "packages": words("packages of the distribution", 100, "git", "libgl1"),
            },
        ),
        "language": section(
            "the language and its libraries",
            **{
                "image-name": word("its name", "python", "python"),
                "version": word("its version", "3.11", "3.11"),
                "tags": word("its variant", "", "slim"),
                "libraries": words("requirements by name, as PEP 508 has them", 200, "torch==2.13.0", "numpy"),
                "lock": {
                    "type": ["string", "null"], "maxLength": 56_000, "default": "",
                    "description": "the lock of another environment, in the place of `libraries`",
                },
            },
        ),
        "resources": section(
            "what it may take at most",
            ram=word("a number and B, KB, MB, GB, TB (powers of 1000) or KiB, …, TiB, K, …, T (of 1024)", "2GB", "8GB"),
            cpu=word("cores, or thousandths of one", "1", "2", "500m"),
            gpu=word("[MODEL:][MEMORY:]COUNT", "0", "1", "H200:2", "A100:80GB:4"),
            storage=word("as `ram`", "10GB", "20GB"),
        ),
        "variables": {
            "type": ["object", "string", "null"], "maxProperties": 100, "default": {},
            "description": "environment variables; NVIDIA_*, LD_* and others that matter are refused",
            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$"},
            "additionalProperties": {"type": ["string", "number"]}, "examples": [{"HF_HOME": "/workspace/models"}],
        },
        "lifetime": word("until it is stopped, as in 8h; 0s is no end", "0s", "8h", "1d12h"),
        "priority": word("0 to 9; above 5 needs an admin", "5", "5"),
        "wait": {
            "type": ["boolean", "string", "null"], "maxLength": 256, "default": False,
            "description": "whether it waits for a host that is not there yet, where none could ever hold it",
        },
    },
    "additionalProperties": False,
}  # fmt: skip

SUBMITTED: Json = {
    **CONTRACT,
    "description": "A contract; with `template` what it leaves out is that one's.",
    "properties": {
        "template": {"type": "string", "description": "the name of a template", "examples": ["pytorch"]},
        **CONTRACT["properties"],
    },
}

CONTRACT_EXAMPLE: Json = {
    "env-name": "vision-lab",
    "version": "1",
    "os": {"image-name": "debian", "version": "12", "tags": ""},
    "language": {"image-name": "python", "version": "3.11", "tags": "", "libraries": ["torch==2.13.0", "numpy"]},
    "resources": {"ram": "8GB", "cpu": "2", "gpu": "0", "storage": "20GB"},
}
