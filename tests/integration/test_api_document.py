"""The OpenAPI document: complete, true, and readable without the internet."""

from __future__ import annotations

import ast
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema_rs import Draft202012Validator, meta
from marshmallow import Schema

from api.openapi.contracts import CONTRACT, CONTRACT_EXAMPLE
from api.openapi.document import document as build
from api.openapi.document import documented
from api.problem_types import OTHER, TYPES
from common import contract
from common.fields import LongText, Section, Text, TextList

ROOT = Path(__file__).parents[2]


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get("/api/v1/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


def test_every_route_is_in_it_and_nothing_else(app: Flask, document: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<([^>]+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if documented(rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    said = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert said == routes
    assert len(said) > 40


def test_a_route_that_says_nothing_of_itself_is_an_error(app: Flask) -> None:
    app.view_functions["hosts.hosts"] = lambda: "nothing"
    with pytest.raises(KeyError, match=r"hosts\.hosts says nothing of itself"):
        build(app)


def test_every_operation_has_what_a_reader_needs(document: dict[str, Any]) -> None:
    ids = []
    for methods in document["paths"].values():
        for operation in methods.values():
            ids.append(operation["operationId"])
            assert operation["summary"]
            assert any(status.startswith("2") for status in operation["responses"])
            for parameter in operation["parameters"]:
                assert parameter["description"]
    assert len(set(ids)) == len(ids)
    assert document["openapi"] == "3.1.0"


def test_all_references_lead_somewhere_and_all_schemas_are_schemas(document: dict[str, Any]) -> None:
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        place: Any = document
        for part in reference.split("/"):
            place = place[part]
        assert place
    for name, schema in document["components"]["schemas"].items():
        meta.validate(schema)
        assert schema, name


def test_the_contract_is_documented_as_it_is_read() -> None:
    def compare(said: dict[str, Any], schema: Schema) -> None:
        properties = said["properties"] if "properties" in said else said["anyOf"][0]["properties"]
        assert set(properties) == {field.data_key or name for name, field in schema.fields.items()}
        for name, field in schema.fields.items():
            here = properties[field.data_key or name]
            match field:
                case Section():
                    compare(here, field.schema)
                case TextList():
                    assert here["maxItems"] == field.limit
                case LongText():
                    assert here["maxLength"] == field.limit
                case Text():
                    assert here["default"] in (field.default_text, field.default_text == "true")

    compare(CONTRACT, contract._ContractSchema())


def test_the_example_is_what_it_shows() -> None:
    assert contract.parse(CONTRACT_EXAMPLE).libraries == ("torch==2.13.0", "numpy")
    assert Draft202012Validator(CONTRACT).is_valid(CONTRACT_EXAMPLE)


def test_the_page_needs_nothing_from_elsewhere(app: Flask, document: dict[str, Any], ada: FlaskClient) -> None:
    page = app.test_client().get("/docs")
    assert page.status_code == 200
    assert page.text.count("<details") == sum(map(len, document["paths"].values())) + len(
        document["components"]["schemas"]
    )
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page.text) == []
    assert "<script>" not in page.text
    assert " style=" not in page.text
    for name in re.findall(r'href="#([^"]+)"', page.text):
        assert f'id="{name}"' in page.text


def test_a_file_in_a_form_is_of_no_type(document: dict[str, Any]) -> None:
    """There is no text that a file cannot hold, so none is the wrong type of value."""
    content = document["paths"]["/api/v1/environments/import"]["post"]["requestBody"]["content"]
    assert "type" not in content["multipart/form-data"]["schema"]["properties"]["file"]


def test_every_kind_of_problem_is_explained(app: Flask) -> None:
    """On the page that each problem links, and in docs/api.md."""
    page = app.test_client().get("/docs/problems")
    assert page.status_code == 200
    for kind in (*TYPES.values(), OTHER):
        section = page.text.partition(f'<section class="card" id="{kind.slug}">')[2].partition("</section>")[0]
        for words in (kind.urn, kind.title, kind.when, kind.advice):
            assert words.replace("`", "") in html.unescape(re.sub(r"<[^>]+>", "", section)), kind
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page.text) == []
    assert "/docs/problems" in app.test_client().get("/docs").text
    rows = re.findall(r"^\| (\w+) \| `([a-z-]+)` \|", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert rows == [*((str(status), kind.slug) for status, kind in TYPES.items()), ("other", OTHER.slug)]


def test_every_status_that_the_code_answers_has_its_kind() -> None:
    given = {
        (call.args[0].value, file.name)
        for file in sorted((ROOT / "api").rglob("*.py"))
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") in ("Refused", "problem", "_later")
        and isinstance(call.args[0], ast.Constant)
    }
    assert len(given) > 20
    assert {status for status, _ in given} <= set(TYPES)
