"""The schemas of answers, and of the bodies that no marshmallow schema reads. Tests hold answers to them."""

from __future__ import annotations

from typing import Any

from common.principal import ROLES, SCOPES
from common.states import SENTENCES, Phase, Reason, State

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer"}
TRUTH: Json = {"type": "boolean"}
TIME: Json = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Json = {"type": ["string", "null"], "format": "date-time"}
TEXTS: Json = {"type": "array", "items": TEXT}
ID: Json = {"type": "string", "pattern": "^[0-9a-hjkmnp-tv-z]{15}$"}


def ref(name: str) -> Json:
    """A component by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(items: Json) -> Json:
    """A list."""
    return {"type": "array", "items": items}


def thing(**properties: Json) -> Json:
    """An object with just these properties, all of them."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def or_null(schema: Json) -> Json:
    """It, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def page(name: str, item: str) -> Json:
    """A page of a list."""
    return thing(**{name: listed(ref(item)), "next": {"type": ["string", "null"], "description": "the next `cursor`"}})


def links(*names: str) -> Json:
    """Addresses of what belongs to it."""
    return thing(**dict.fromkeys(names, TEXT))


def chosen(values: Any, description: str = "") -> Json:
    """One of a few words."""
    return {
        "type": "string",
        "enum": [str(value) for value in values],
        **({"description": description} if description else {}),
    }


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

AMOUNTS = thing(cpu_milli=WHOLE, ram_mib=WHOLE, storage_mib=WHOLE, gpus=WHOLE)
LARGEST = thing(
    cpu_milli=WHOLE, ram_mib=WHOLE, storage_mib=WHOLE, gpus=WHOLE,
    together={**listed(ref("Amounts")), "description": "what one host has at once; none with less of everything"},
)  # fmt: skip
SOME: Json = thing(total=WHOLE, free=WHOLE)
NOW_AND_EVER: Json = thing(now=WHOLE, ever=WHOLE)
RESOURCES: Json = {"type": "object", "additionalProperties": TEXT, "description": "in the contract's own words"}
SHORT: Json = thing(need=WHOLE, free=WHOLE, short=WHOLE)
LIMITS: Json = thing(
    **{name: {"type": ["integer", "null"]} for name in ("environments", "cpu_milli", "ram_mib", "gpus", "storage_mib")}
)

ENVIRONMENT = thing(
    id=ID, name=TEXT, owner=TEXT, state=chosen(State),
    progress={"type": "integer", "minimum": 0, "maximum": 100}, phase=chosen(["", *Phase]), message=TEXT,
    reason=chosen(["", *Reason], "; ".join(f"`{reason.value}`: {SENTENCES[reason]}" for reason in Reason)), host=TEXT,
    gpus=TEXTS, position={"type": ["integer", "null"]}, attempt=WHOLE, created_at=TIME, updated_at=TIME,
    started_at=TIME_OR_NULL, expires_at=TIME_OR_NULL, contract=ref("Contract"),
    links=links("self", "events", "logs", "lock", "stats"),
)  # fmt: skip
EVENT = thing(
    id=TEXT, at=TIME, state=chosen(State), progress=WHOLE, phase=TEXT, message=TEXT,
    reason=TEXT, host=TEXT,
)  # fmt: skip
GPU = thing(uuid=TEXT, model=TEXT, memory_mib=WHOLE, healthy=TRUTH, free=TRUTH)
HOST = thing(
    name=TEXT, state=chosen(["ready", "draining", "lost"]), heartbeat_age_seconds={"type": "number"},
    cpu_milli=SOME, ram_mib=SOME, storage_mib=SOME, gpus=listed(ref("Gpu")), driver=TEXT, cuda=TEXT, engine=TEXT,
    storage_limit=TEXT, notes=TEXTS, overcommitted=TRUTH, environment_count=WHOLE, environments=TEXTS,
)  # fmt: skip
CATALOG = thing(
    systems=listed(
        thing(**{
            "image-name": TEXT, "version": TEXT, "title": TEXT, "tags": TEXTS,
            "languages": listed(thing(**{"image-name": TEXT, "versions": TEXTS})),
        })
    ),
    frameworks=listed(thing(name=TEXT, title=TEXT, libraries=TEXTS, gpu=TRUTH)),
    gpus=listed(
        thing(model=TEXT, memory_mib=WHOLE, request=TEXT, total=WHOLE, free=WHOLE, largest=NOW_AND_EVER)
    ),
    largest=thing(now=ref("Largest"), ever=ref("Largest")),
    smallest=thing(cpu_milli=WHOLE, ram_mib=WHOLE, storage_mib=WHOLE),
    defaults=ref("Contract"),
    hosts=thing(ready=WHOLE, draining=WHOLE, lost=WHOLE),
)  # fmt: skip
_JUDGED: Json = {
    "verdict": {"enum": ["now", "wait", "never", None]}, "message": TEXT, "estimate": TIME_OR_NULL,
    "position": {"type": ["integer", "null"]}, "quota": TEXT, "change": or_null(thing(resources=RESOURCES)),
    "nearest": or_null(thing(resources=RESOURCES)), "hosts": listed(ref("HostVerdict")), "host_count": WHOLE,
}  # fmt: skip
HOST_VERDICT: Json = {
    **thing(
        host=TEXT, state=TEXT, fits=TRUTH, ever=TRUTH, short={"type": "object", "additionalProperties": SHORT},
        reserved=TRUTH, overcommitted=TRUTH, free_at=TIME_OR_NULL,
    ),
    "additionalProperties": {"type": "array", "description": "`held_by`, for admins"},
}  # fmt: skip
LIBRARIES = thing(
    host=TEXT, verdict=chosen(["ok", "conflict", "unknown"]), message=TEXT, packages=TEXTS, present=TRUTH,
    installed_bytes={"type": ["integer", "null"]}, download_bytes={"type": ["integer", "null"]},
)  # fmt: skip
SAMPLE = thing(
    id=TEXT, at=TIME, cpu_milli=WHOLE, ram_bytes=WHOLE, storage_bytes=WHOLE, received_bytes_per_second=WHOLE,
    sent_bytes_per_second=WHOLE, pids=WHOLE, oom_kills=WHOLE,
    gpus=listed(thing(uuid=TEXT, busy_percent={"type": ["integer", "null"]}, memory_bytes=WHOLE)),
)  # fmt: skip
USER = thing(
    name=TEXT, role=chosen(ROLES), disabled=TRUTH, has_password=TRUTH, created_at=TIME, links=links("self", "quota")
)
_TOKEN: Json = {
    "id": TEXT, "name": TEXT, "kind": TEXT, "user": TEXT, "scopes": listed(chosen(SCOPES)), "created_at": TIME,
    "expires_at": TIME_OR_NULL, "last_used_at": TIME_OR_NULL, "expired": TRUTH,
    "replaced_by": {"type": ["string", "null"]}, "links": links("self"),
}  # fmt: skip
_WEBHOOK: Json = {
    "id": ID, "owner": TEXT, "url": TEXT, "states": listed(chosen(State)), "created_at": TIME,
    "last": or_null(thing(at=TIME, status={"type": ["integer", "null"]}, error=TEXT)), "failures": WHOLE,
    "links": links("self"),
}  # fmt: skip
TEMPLATE = thing(
    name=TEXT, title=TEXT, description=TEXT, owner={**TEXT, "description": "empty for those that ship"}, public=TRUTH,
    contract=ref("Contract"), created_at=TIME, updated_at=TIME, links=links("self"),
)  # fmt: skip
PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457; `detail` says what to do",
    "properties": {
        "type": TEXT, "title": TEXT, "status": WHOLE, "detail": TEXT, "instance": TEXT,
        "errors": listed(thing(path=TEXT, message=TEXT)),
    },
    "required": ["type", "title", "status", "detail", "instance"],
}  # fmt: skip

SCHEMAS: dict[str, Json] = {
    "Contract": CONTRACT,
    "Submitted": SUBMITTED,
    "Environment": ENVIRONMENT,
    "Environments": page("environments", "Environment"),
    "Event": EVENT,
    "Events": thing(events=listed(ref("Event"))),
    "Gpu": GPU,
    "Host": HOST,
    "Hosts": page("hosts", "Host"),
    "Amounts": AMOUNTS,
    "Largest": LARGEST,
    "Catalog": CATALOG,
    "HostVerdict": HOST_VERDICT,
    "Libraries": LIBRARIES,
    "Check": thing(**_JUDGED, contract=ref("Contract"), libraries=or_null(ref("Libraries"))),
    "Explanation": thing(state=chosen(State), **_JUDGED),
    "Import": thing(
        format=TEXT,
        contract=ref("Contract"),
        left_out={**listed(thing(path=TEXT, message=TEXT)), "description": "what of the file is not in the contract"},
    ),
    "Sample": SAMPLE,
    "Stats": thing(
        now=or_null(ref("Sample")),
        limits=thing(cpu_milli=WHOLE, ram_bytes=WHOLE, storage_bytes=WHOLE, gpus=WHOLE),
        interval_seconds={"type": "number"},
        series=listed(ref("Sample")),
    ),
    "Channel": thing(channel=TEXT, links=links("output", "input")),
    "User": USER,
    "Users": page("users", "User"),
    "Token": thing(**_TOKEN),
    "NewTokenOnce": thing(**_TOKEN, token={**TEXT, "description": "no other answer has it"}),
    "Tokens": thing(tokens=listed(ref("Token"))),
    "WaysIn": thing(password=TRUTH, device=TRUTH),
    "DeviceCode": thing(
        device={**TEXT, "description": "what `POST /login/device/token` takes"}, interval={"type": "number"},
        user_code=TEXT, verification_uri=TEXT, verification_uri_complete={"type": ["string", "null"]},
        expires_in={"type": "number", "description": "seconds"},
    ),
    "Quota": thing(limits=LIMITS, default=TRUTH),
    "UserQuota": thing(user=TEXT, limits=LIMITS, default=TRUTH, used=LIMITS),
    "Webhook": thing(**_WEBHOOK),
    "NewWebhookOnce": thing(**_WEBHOOK, secret={**TEXT, "description": "no other answer has it"}),
    "Webhooks": thing(webhooks=listed(ref("Webhook"))),
    "Template": TEMPLATE,
    "Templates": page("templates", "Template"),
    "AuditEntry": thing(
        action=TEXT, user=TEXT, target=TEXT, status=WHOLE, token=TEXT, address=TEXT, request=TEXT,
        details={"type": "object"}, at=TIME,
    ),
    "AuditEntries": page("entries", "AuditEntry"),
    "Health": thing(status=TEXT),
    "Ready": thing(status=TEXT, workers=WHOLE),
    "Command": {
        "type": "object",
        "properties": {
            "command": {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 256, "examples": [["python", "-V"]]},
            "tty": {"type": "boolean", "default": False},
            "rows": {"type": "integer", "minimum": 1, "maximum": 2000, "default": 24},
            "cols": {"type": "integer", "minimum": 1, "maximum": 2000, "default": 80},
        },
        "required": ["command"],
    },
    "Input": {
        "type": "object",
        "description": "`data` for the standard input, `close` to end it, or `rows` and `cols` of the terminal",
        "properties": {
            "seq": {"type": "integer", "minimum": 1, "description": "rises with each"},
            "data": {"type": "string", "contentEncoding": "base64"},
            "close": TRUTH,
            "rows": {"type": "integer", "minimum": 1, "maximum": 2000},
            "cols": {"type": "integer", "minimum": 1, "maximum": 2000},
        },
        "required": ["seq"],
    },
    "OpenApi": {"type": "object"},
    "Text": TEXT,
    "Problem": PROBLEM,
}  # fmt: skip
