"""The schemas of answers, and of the bodies that no marshmallow schema reads. Tests hold answers to them."""

from __future__ import annotations

from api.openapi.contracts import CONTRACT, SUBMITTED
from api.openapi.pieces import (
    ID,
    TEXT,
    TEXTS,
    TIME,
    TIME_OR_NULL,
    TRUTH,
    WHOLE,
    Json,
    chosen,
    links,
    listed,
    or_null,
    page,
    ref,
    thing,
)
from common.principal import ROLES, SCOPES
from common.states import SENTENCES, Phase, Reason, State

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
        system={**TEXT, "description": "what it does not make of what is asked for, \"\" is nothing"},
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
    "Index": thing(version=TEXT, links={"type": "object", "additionalProperties": TEXT}),
    "Environments": page("environments", "Environment"),
    "Event": EVENT,
    "Events": page("events", "Event"),
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
    "Tokens": page("tokens", "Token"),
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
    "Webhooks": page("webhooks", "Webhook"),
    "Template": TEMPLATE,
    "Templates": page("templates", "Template"),
    "AuditEntry": thing(
        action=TEXT, user=TEXT, target=TEXT, status=WHOLE, token=TEXT, address=TEXT, request=TEXT,
        details={"type": "object"}, at=TIME,
    ),
    "AuditEntries": page("entries", "AuditEntry"),
    "Metrics": TEXT,
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
