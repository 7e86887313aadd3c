"""The document of an application: its routes as its map of addresses has them, with what each says of itself."""

from __future__ import annotations

import re
from importlib.metadata import version

from apispec import APISpec
from flask import Flask
from werkzeug.routing import Rule

from api import auth
from api.openapi.components import SCHEMAS
from api.openapi.described import UPLOAD, Json, Operation
from api.openapi.fields import Fields
from api.openapi.pieces import ref
from api.problem_types import TYPES

PREFIX = "/api/v1"
BESIDE = ("/healthz", "/readyz", "/metrics")  # for machines, outside of the versioned part

_PARAMETERS = {
    "env_id": ("an environment's id", "1m858mke2w2b69v"),
    "channel_id": ("a channel's id", "1m858mke2w2b69v0123456789abcdefghjkmnpqrs"),
    "token_id": ("a token's id", "0123456789"),
    "name": ("a name", "pytorch"),
    "hook_id": ("a webhook's id", "1m858mke2w2b69v"),
}
_HEADERS: dict[str, Json] = {
    "ETag": {"description": "the version", "schema": {"type": "string"}},
    "Location": {"description": "where it is", "schema": {"type": "string"}},
    "Preference-Applied": {"description": "which `Prefer` was kept to", "schema": {"type": "string"}},
}


def documented(rule: Rule) -> bool:
    """Whether an address belongs into the document."""
    return rule.rule.startswith(PREFIX) or rule.rule in BESIDE


def document(app: Flask) -> Json:
    """The OpenAPI document. Raises KeyError where a route says nothing of itself."""
    spec = APISpec(
        title="DCloud",
        version=version("dcloud"),
        openapi_version="3.1.0",
        plugins=[Fields()],
        info={
            "description": "Environments from contracts: submit one, watch it start, work inside.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        servers=[{"url": "/"}],
    )
    for name, schema in SCHEMAS.items():
        spec.components.schema(name, schema)
    for status, kind in TYPES.items():
        spec.components.response(f"Problem{status}", _problem(f"`{kind.slug}`: {kind.when}"))
    spec.components.response("Problem", _problem("any other problem"))
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer", "bearerFormat": "dc_u_…"})
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if documented(rule):
            spec.path(path=_template(rule), operations=_operations(app, rule))
    found: Json = spec.to_dict()
    return found


def operation_of(app: Flask, endpoint: str) -> Operation:
    """What a route says of itself. Raises KeyError where it says nothing."""
    found = getattr(app.view_functions[endpoint], "described", None)
    if found is None:
        raise KeyError(f"{endpoint} says nothing of itself: add @described to it")
    return found  # type: ignore[no-any-return]


def _operations(app: Flask, rule: Rule) -> dict[str, Json]:
    methods = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    return {method.lower(): _operation(app, rule, method) for method in methods}


def _operation(app: Flask, rule: Rule, method: str) -> Json:
    said, view = operation_of(app, rule.endpoint), app.view_functions[rule.endpoint]
    scopes = sorted(auth.needs(app, rule.endpoint, method))
    summary, _, rest = (view.__doc__ or "").strip().partition("\n\n")
    needs = f"Needs {' and '.join(f'`{scope}`' for scope in scopes)}." if scopes else "Needs no token."
    found: Json = {
        "operationId": rule.endpoint.replace(".", "_"),
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": " ".join(summary.split()),
        "description": "\n\n".join(part for part in (" ".join(rest.split()), needs) if part),
        "parameters": [*_path_parameters(rule), *said.parameters],
        "responses": _responses(said, rule, bool(scopes)),
        "security": [{"token": []}] if scopes else [],
    }
    if said.body is not None:
        found["requestBody"] = _body(said)
    return found


def _body(said: Operation) -> Json:
    schema = ref(said.body) if isinstance(said.body, str) else said.body
    example = {"example": said.example} if said.example is not None else {}
    content: Json = {kind: {"schema": schema, **(example if kind.endswith("json") else {})} for kind in said.body_types}
    if UPLOAD in content:
        file = {
            "contentMediaType": "application/octet-stream"
        }  # of no type: whatever comes in a form is a file's bytes
        upload = {"type": "object", "properties": {"file": file}, "required": ["file"], "maxProperties": 1}
        content[UPLOAD] = {"schema": upload}
    return {"required": said.body_required, "content": content}


def _responses(said: Operation, rule: Rule, private: bool) -> dict[str, Json]:
    success: Json = {"description": "done" if said.answer is None else said.answer}
    if said.answer is not None:
        schemas = {
            kind: ref(said.answer) if kind.endswith("json") else {"type": "string"} for kind in said.answer_types
        }
        success["content"] = {kind: {"schema": schema} for kind, schema in schemas.items()}
    if said.headers:
        success["headers"] = {name: _HEADERS[name] for name in said.headers}
    found = {str(said.status): success}
    found |= {str(status): {"description": words} for status, words in said.also.items()}
    usual = {401, 403, 429} if private else set()
    if rule.arguments:
        usual.add(404)
    if said.body is not None:
        usual |= {400, 413, 422}
    if said.parameters:
        usual.add(400)
    for status in sorted(usual | {503} | set(said.refuses)):
        found[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    found["default"] = {"$ref": "#/components/responses/Problem"}
    return found


def _problem(words: str) -> Json:
    return {"description": words, "content": {"application/problem+json": {"schema": ref("Problem")}}}


def _path_parameters(rule: Rule) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PARAMETERS[name][0],
            "schema": {"type": "string"},
            "example": _PARAMETERS[name][1],
        }
        for name in sorted(rule.arguments)
    ]


def _template(rule: Rule) -> str:
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
