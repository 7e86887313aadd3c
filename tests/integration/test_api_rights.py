"""Deny by default: every route, for every role, set of scopes and owner, against one written table.

A route that is not in the table fails the test, so nothing can be reached that nobody has thought about.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient
from test_api_access import routes

from api.auth import needs
from api.services import Services
from common import contract, ids
from common.inventory import Inventory
from common.principal import ROLES, SCOPES
from common.templates import Template
from common.tokens import id_of

# what a caller needs: nothing, any token, the scope `read`, the scope `submit`, or beside it the role and scope `admin`
PUBLIC, SIGNED_IN, READ, SUBMIT, ADMIN_READ, ADMIN = (
    "public",
    "signed in",
    "read",
    "submit",
    "read and admin",
    "submit and admin",
)
# whose it is: nobody's in particular, or its owner's, for whom else but an admin it does not exist
ALL, OWN = "all", "own"

V1 = "/api/v1"
TABLE: dict[tuple[str, str], tuple[str, str]] = {
    ("GET", "/"): (PUBLIC, ALL),
    ("GET", "/docs"): (PUBLIC, ALL),
    ("GET", "/docs/problems"): (PUBLIC, ALL),
    ("GET", f"{V1}/openapi.json"): (PUBLIC, ALL),
    ("GET", "/healthz"): (PUBLIC, ALL),
    ("GET", "/readyz"): (PUBLIC, ALL),
    ("GET", "/metrics"): (ADMIN_READ, ALL),
    ("GET", "/static/<path:filename>"): (PUBLIC, ALL),
    ("GET", "/bootstrap/static/<path:filename>"): (PUBLIC, ALL),
    ("POST", "/sign-in"): (PUBLIC, ALL),
    ("GET", "/sign-in/provider"): (PUBLIC, ALL),
    ("GET", "/sign-in/provider/back"): (PUBLIC, ALL),
    ("GET", f"{V1}/login"): (PUBLIC, ALL),
    ("POST", f"{V1}/login"): (PUBLIC, ALL),
    ("POST", f"{V1}/login/device"): (PUBLIC, ALL),
    ("POST", f"{V1}/login/device/token"): (PUBLIC, ALL),
    ("POST", "/sign-out"): (SIGNED_IN, ALL),
    ("GET", "/environments/<env_id>"): (READ, OWN),
    ("GET", "/environments/<env_id>/delete"): (READ, OWN),
    ("POST", "/environments/<env_id>/delete"): (SUBMIT, OWN),
    ("POST", "/environments/<env_id>/start"): (SUBMIT, OWN),
    ("POST", "/environments/<env_id>/stop"): (SUBMIT, OWN),
    ("POST", "/environments/<env_id>/storage"): (SUBMIT, OWN),
    ("GET", "/environments/<env_id>/shell"): (READ, OWN),
    ("GET", "/hosts"): (READ, ALL),
    ("POST", "/hosts/<name>/drain"): (ADMIN, ALL),
    ("POST", "/hosts/<name>/forget"): (ADMIN, ALL),
    ("POST", "/hosts/<name>/undrain"): (ADMIN, ALL),
    ("GET", "/account"): (READ, ALL),
    ("GET", "/audit"): (ADMIN_READ, ALL),
    ("GET", "/flower"): (ADMIN_READ, ALL),
    ("GET", "/flower/"): (ADMIN_READ, ALL),
    ("GET", "/flower/<path:at>"): (ADMIN_READ, ALL),
    ("GET", "/flower/static/<path:filename>"): (ADMIN_READ, ALL),
    ("POST", "/flower/tasks/datatable"): (ADMIN, ALL),
    ("GET", "/people"): (ADMIN_READ, ALL),
    ("POST", "/people"): (ADMIN, ALL),
    ("GET", "/people/<name>"): (ADMIN_READ, ALL),
    ("POST", "/people/<name>/change"): (ADMIN, ALL),
    ("POST", "/people/<name>/password"): (SUBMIT, OWN),
    ("POST", "/people/<name>/quota"): (ADMIN, ALL),
    ("POST", "/quota"): (ADMIN, ALL),
    ("GET", "/queue"): (ADMIN_READ, ALL),
    ("POST", "/tokens"): (SUBMIT, ALL),
    ("POST", "/tokens/<token_id>/revoke"): (SUBMIT, OWN),
    ("GET", "/tokens/<token_id>/rotate"): (READ, OWN),
    ("POST", "/tokens/<token_id>/rotate"): (SUBMIT, OWN),
    ("GET", "/new"): (READ, ALL),
    ("POST", "/new"): (SUBMIT, ALL),
    ("POST", "/new/check"): (SUBMIT, ALL),
    ("POST", "/new/libraries"): (SUBMIT, ALL),
    ("POST", "/new/save"): (SUBMIT, ALL),
    ("GET", "/templates/<name>"): (READ, OWN),
    ("POST", "/templates/<name>"): (SUBMIT, OWN),
    ("GET", "/templates/<name>/delete"): (READ, OWN),
    ("POST", "/templates/<name>/delete"): (SUBMIT, OWN),
    ("POST", "/new/fill"): (SUBMIT, ALL),
    ("GET", "/webhooks"): (READ, ALL),
    ("POST", "/webhooks"): (SUBMIT, ALL),
    ("GET", "/webhooks/<hook_id>/delete"): (READ, OWN),
    ("POST", "/webhooks/<hook_id>/delete"): (SUBMIT, OWN),
    ("GET", V1): (PUBLIC, ALL),
    ("GET", f"{V1}/audit"): (ADMIN_READ, ALL),
    ("GET", f"{V1}/catalog"): (READ, ALL),
    ("GET", f"{V1}/channels/<channel_id>/output"): (READ, OWN),
    ("POST", f"{V1}/channels/<channel_id>/input"): (SUBMIT, OWN),
    ("DELETE", f"{V1}/channels/<channel_id>"): (SUBMIT, OWN),
    ("GET", f"{V1}/environments"): (READ, ALL),
    ("POST", f"{V1}/environments"): (SUBMIT, ALL),
    ("POST", f"{V1}/environments/check"): (SUBMIT, ALL),
    ("POST", f"{V1}/environments/import"): (SUBMIT, ALL),
    ("GET", f"{V1}/environments/<env_id>"): (READ, OWN),
    ("DELETE", f"{V1}/environments/<env_id>"): (SUBMIT, OWN),
    ("GET", f"{V1}/environments/<env_id>/events"): (READ, OWN),
    ("GET", f"{V1}/environments/<env_id>/explain"): (READ, OWN),
    ("GET", f"{V1}/environments/<env_id>/lock"): (READ, OWN),
    ("GET", f"{V1}/environments/<env_id>/logs"): (READ, OWN),
    ("GET", f"{V1}/environments/<env_id>/stats"): (READ, OWN),
    ("POST", f"{V1}/environments/<env_id>/exec"): (SUBMIT, OWN),
    ("PUT", f"{V1}/environments/<env_id>/storage"): (SUBMIT, OWN),
    ("POST", f"{V1}/environments/<env_id>/start"): (SUBMIT, OWN),
    ("POST", f"{V1}/environments/<env_id>/stop"): (SUBMIT, OWN),
    ("GET", f"{V1}/hosts"): (READ, ALL),
    ("GET", f"{V1}/hosts/<name>"): (READ, ALL),
    ("DELETE", f"{V1}/hosts/<name>"): (ADMIN, ALL),
    ("POST", f"{V1}/hosts/<name>/drain"): (ADMIN, ALL),
    ("POST", f"{V1}/hosts/<name>/undrain"): (ADMIN, ALL),
    ("GET", f"{V1}/quota"): (READ, ALL),
    ("PUT", f"{V1}/quota"): (ADMIN, ALL),
    ("DELETE", f"{V1}/quota"): (ADMIN, ALL),
    ("GET", f"{V1}/templates"): (READ, ALL),
    ("POST", f"{V1}/templates"): (SUBMIT, ALL),
    ("GET", f"{V1}/templates/<name>"): (READ, OWN),
    ("PUT", f"{V1}/templates/<name>"): (SUBMIT, OWN),
    ("DELETE", f"{V1}/templates/<name>"): (SUBMIT, OWN),
    ("GET", f"{V1}/tokens"): (READ, ALL),
    ("POST", f"{V1}/tokens"): (SUBMIT, ALL),
    ("GET", f"{V1}/tokens/<token_id>"): (READ, OWN),
    ("DELETE", f"{V1}/tokens/<token_id>"): (SUBMIT, OWN),
    ("POST", f"{V1}/tokens/<token_id>/rotate"): (SUBMIT, OWN),
    ("GET", f"{V1}/users"): (ADMIN_READ, ALL),
    ("POST", f"{V1}/users"): (ADMIN, ALL),
    ("GET", f"{V1}/users/<name>"): (READ, OWN),
    ("PATCH", f"{V1}/users/<name>"): (ADMIN, OWN),
    ("PUT", f"{V1}/users/<name>/password"): (SUBMIT, OWN),
    ("GET", f"{V1}/users/<name>/quota"): (READ, OWN),
    ("PUT", f"{V1}/users/<name>/quota"): (ADMIN, OWN),
    ("DELETE", f"{V1}/users/<name>/quota"): (ADMIN, OWN),
    ("GET", f"{V1}/webhooks"): (READ, ALL),
    ("POST", f"{V1}/webhooks"): (SUBMIT, ALL),
    ("GET", f"{V1}/webhooks/<hook_id>"): (READ, OWN),
    ("DELETE", f"{V1}/webhooks/<hook_id>"): (SUBMIT, OWN),
}
NEEDED = {
    PUBLIC: frozenset[str](),
    SIGNED_IN: frozenset[str](),
    READ: frozenset({"read"}),
    SUBMIT: frozenset({"submit"}),
    ADMIN_READ: frozenset({"read", "admin"}),
    ADMIN: frozenset({"submit", "admin"}),
}


@dataclass
class Caller:
    """A token of one role with one set of scopes."""

    user: str
    role: str
    scopes: tuple[str, ...]
    client: FlaskClient

    def may(self, need: str) -> bool:
        return set(self.scopes) >= NEEDED[need] and ("admin" not in NEEDED[need] or self.role == "admin")

    @property
    def sees_all(self) -> bool:
        return self.role == "admin" and "admin" in self.scopes


@pytest.fixture
def callers(client_of: Callable[..., FlaskClient]) -> list[Caller]:
    """A caller for each role and set of scopes."""
    sets = [some for size in (1, 2, 3) for some in itertools.combinations(SCOPES, size)]
    return [
        Caller(f"a-{role}", role, scopes, client_of(f"a-{role}", role, scopes=scopes))
        for role, scopes in itertools.product(ROLES, sets)
    ]


def rules(app: Flask) -> Iterator[tuple[str, str, str]]:
    return ((method, rule, endpoint) for method, rule, endpoint in routes(app) if method != "HEAD")


def test_every_route_has_its_row_and_every_row_its_route(app: Flask) -> None:
    assert {(method, rule) for method, rule, _ in rules(app)} == set(TABLE)


def test_the_routes_ask_for_what_the_table_says(app: Flask) -> None:
    for method, rule, endpoint in rules(app):
        assert needs(app, endpoint, method) == NEEDED[TABLE[method, rule][0]], (method, rule)


def test_everyone_gets_what_the_table_says(app: Flask, parts: Services, callers: list[Caller]) -> None:
    parts.ledger.load()
    parts.ledger.register("sim", "i", 60, Inventory(machine="m", cpu_milli=8000, ram_mib=8000, storage_mib=8000))
    parts.accounts.create_user("other")
    lab = contract.parse({"wait": True})

    def filled(rule: str, owner: str, scopes: tuple[str, ...]) -> str:
        """The address of something fresh that belongs to `owner`, which a caller with these scopes may rotate too."""
        filling = {"path:filename": "app.css", "path:at": "workers"}
        if "<env_id>" in rule or "<channel_id>" in rule:
            filling["env_id"] = parts.ledger.submit(ids.new_id(), owner, lab).id
            filling["channel_id"] = filling["env_id"] + secrets.token_hex(13)
        if "<token_id>" in rule:
            filling["token_id"] = id_of(parts.accounts.create_token(owner, scopes=scopes))
        if "<name>" in rule:
            filling["name"] = "sim" if "/hosts/" in rule else owner
        if "<hook_id>" in rule:
            filling["hook_id"] = parts.webhooks.create(owner, "https://example.org/", ["running"]).id
            parts.ledger.redis.delete(parts.keys.webhooks_of(owner))  # or there would be too many
        if "/templates/<name>" in rule:
            filling["name"] = ids.new_id()
            parts.templates.create(Template(filling["name"], "", "", owner, False, {}))
        for name, value in filling.items():
            rule = rule.replace(f"<{name}>", value)
        return rule

    for (method, rule, _), caller in itertools.product(rules(app), callers):
        need, owned = TABLE[method, rule]
        for owner in (caller.user, "other") if owned == OWN else (caller.user,):
            with caller.client.open(filled(rule, owner, caller.scopes), method=method, json={}) as answer:
                status = answer.status_code
            case = (method, rule, caller.role, caller.scopes, owner, status)
            if need == PUBLIC:
                assert status != 403, case
            elif not caller.may(need):
                assert status == 403, case
            elif owned == OWN and owner == "other" and not caller.sees_all:
                assert status == 404, case
            else:
                assert status not in (401, 403, 500), case
                assert status != 404 or "<channel_id>" in rule or rule.endswith(("/lock", "/stats")), case


def test_a_caller_without_a_token_gets_nothing_but_what_is_public(app: Flask) -> None:
    for method, rule, _ in rules(app):
        with app.test_client().open(rule, method=method, json={}) as answer:
            assert (answer.status_code == 401) == (TABLE[method, rule][0] != PUBLIC or rule == "/sign-in"), rule
