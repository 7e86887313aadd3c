"""Templates over HTTP, on a real Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from api.services import Services
from common import templates

AT = "/api/v1/templates"
ENVIRONMENTS = "/api/v1/environments"
SHIPPED = ["data-science", "jax", "python", "pytorch", "tensorflow"]
Clients = Callable[..., FlaskClient]


@pytest.fixture
def root(client_of: Clients) -> FlaskClient:
    """An admin."""
    return client_of("root", "admin")


@pytest.fixture
def eve(client_of: Clients) -> FlaskClient:
    """Another user."""
    return client_of("eve")


def saved(client: FlaskClient, name: str = "mine", **content: Any) -> dict[str, Any]:
    """A new template."""
    answer = client.post(AT, json={"name": name, "contract": {"resources": {"ram": "3GB"}}, **content})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.get_json()
    assert answer.headers["Location"] == f"{AT}/{name}"
    return found


def names(client: FlaskClient, query: str = "") -> list[str]:
    return [template["name"] for template in client.get(f"{AT}{query}").get_json()["templates"]]


def test_a_set_ships_and_everyone_may_use_it(ada: FlaskClient) -> None:
    assert names(ada) == SHIPPED
    found = ada.get(f"{AT}/pytorch").get_json()
    assert (found["title"], found["owner"], found["public"]) == ("PyTorch", "", True)
    assert "torch" in found["contract"]["language"]["libraries"]


def test_what_an_admin_deleted_or_changed_stays_so(
    ada: FlaskClient, root: FlaskClient, parts: Services, redis_url: str
) -> None:
    assert root.delete(f"{AT}/jax").status_code == 204
    assert root.put(f"{AT}/python", json={"title": "Ours", "public": True, "contract": {}}).status_code == 200
    assert names(ada) == [name for name in SHIPPED if name != "jax"]
    assert ada.get(f"{AT}/python").get_json()["title"] == "Ours"
    assert ada.get(f"{AT}/jax").status_code == 404


def test_a_name_that_a_user_took_before_is_theirs(ada: FlaskClient, parts: Services, redis_url: str) -> None:
    """A later version ships more of them."""
    with Redis.from_url(redis_url) as redis:
        redis.sadd(parts.keys.templates_shipped(), *SHIPPED)
        saved(ada, "jax", title="Mine")
        redis.srem(parts.keys.templates_shipped(), "jax")
    assert ada.get(f"{AT}/jax").get_json()["title"] == "Mine"


def test_a_template_is_filled_in(ada: FlaskClient) -> None:
    for path in (ENVIRONMENTS, f"{ENVIRONMENTS}/check"):
        found = ada.post(path, json={"template": "pytorch", "env-name": "lab", "resources": {"ram": "2GB"}}).get_json()
        assert found["contract"]["env-name"] == "lab"
        assert found["contract"]["resources"] == {"ram": "1908MiB", "cpu": "2000m", "gpu": "0", "storage": "9537MiB"}
        assert found["contract"]["language"]["libraries"] == ["torch", "torchvision", "numpy"]
    assert ada.post(ENVIRONMENTS, data="template: jax", content_type="application/yaml").status_code == 202


@pytest.mark.parametrize(
    ("document", "path", "words"),
    [
        ({"template": "nosuch"}, "template", "GET /templates"),
        ({"template": 1}, "template", "must be a string"),
        ({"template": ["jax"]}, "template", "must be a string"),
        ({"template": "../x"}, "template", "There is no template"),
        ({"template": "jax", "resources": {"ram": "x"}}, "resources.ram", "is not a size"),
        ({"template": "jax", "resources": {"rem": "1GB"}}, "resources.rem", "Did you mean 'ram'"),
        ({"template": "jax", "language": []}, "language", "must be an object"),
    ],
)
def test_problems_have_their_path(ada: FlaskClient, document: dict[str, Any], path: str, words: str) -> None:
    answer = ada.post(ENVIRONMENTS, json=document)
    assert answer.status_code == 422
    [problem] = answer.get_json(force=True)["errors"]
    assert problem["path"] == path
    assert words in problem["message"]


def test_an_empty_template_is_none(ada: FlaskClient) -> None:
    assert ada.post(ENVIRONMENTS, json={"template": "", "resources": {"ram": "64MB"}}).status_code == 202


def test_the_life_of_ones_own(ada: FlaskClient, eve: FlaskClient, root: FlaskClient) -> None:
    made = saved(ada, title="Vision", description="For the lab")
    assert (made["title"], made["owner"], made["public"]) == ("Vision", "ada", False)
    assert made["contract"] == {"resources": {"ram": "3GB"}}  # as it was written, not filled in
    assert "mine" in names(ada)
    assert "mine" not in names(eve)
    assert "mine" in names(root)
    for method in ("get", "put", "delete"):
        assert getattr(eve, method)(f"{AT}/mine", json={"contract": {}}).status_code == 404
    assert eve.post(ENVIRONMENTS, json={"template": "mine"}).status_code == 422

    changed = ada.put(f"{AT}/mine", json={"public": True, "contract": {"os": {"version": "13"}}})
    assert changed.status_code == 200
    found = changed.get_json()
    assert (found["title"], found["created_at"]) == ("mine", made["created_at"])
    assert found["updated_at"] > made["updated_at"]
    assert eve.get(f"{AT}/mine").get_json() == found
    for method in ("put", "delete"):
        assert getattr(eve, method)(f"{AT}/mine", json={"contract": {}}).status_code == 403
    assert eve.post(AT, json={"name": "mine", "contract": {}}).status_code == 409
    assert ada.delete(f"{AT}/mine").status_code == 204
    assert ada.get(f"{AT}/mine").status_code == 404
    saved(eve, "mine")


def test_who_has_not_seen_the_last_version_overwrites_nothing(ada: FlaskClient) -> None:
    saved(ada)
    etag = ada.get(f"{AT}/mine").headers["ETag"]
    assert ada.put(f"{AT}/mine", json={"contract": {}}, headers={"If-Match": etag}).status_code == 200
    for method in ("put", "delete"):
        late = getattr(ada, method)(f"{AT}/mine", json={"contract": {}}, headers={"If-Match": etag})
        assert late.status_code == 412
    assert ada.get(f"{AT}/mine", headers={"If-None-Match": ada.get(f"{AT}/mine").headers["ETag"]}).status_code == 304


def test_a_change_under_anothers_hands_is_made_on_what_is_there(
    ada: FlaskClient, parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(ada)
    seen: list[str] = []

    def change(present: templates.Template) -> templates.Template:
        seen.append(present.title)
        if len(seen) == 1:
            ada.put(f"{AT}/mine", json={"title": "second", "contract": {}})
        return present

    assert parts.templates.change("mine", change).title == "second"
    assert seen == ["mine", "second"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"contract": {}}, "name"),
        ({"name": "x"}, "contract"),
        ({"name": "X", "contract": {}}, "name"),
        ({"name": "x/y", "contract": {}}, "name"),
        ({"name": "x", "contract": []}, "contract"),
        ({"name": "x", "contract": {"resources": {"ram": "x"}}}, "contract.resources.ram"),
        ({"name": "x", "contract": {"template": "jax"}}, "contract.template"),
        ({"name": "x", "contract": {"language": {"libraries": ["a", "-e"]}}}, "contract.language.libraries[1]"),
        ({"name": "x", "contract": {}, "title": "a\nb"}, "title"),
        ({"name": "x", "contract": {}, "public": "yes"}, "public"),
        ({"name": "x", "contract": {}, "owner": "root"}, "owner"),
    ],
)
def test_what_is_no_template_is_refused_with_its_path(ada: FlaskClient, body: dict[str, Any], path: str) -> None:
    answer = ada.post(AT, json=body)
    assert answer.status_code == 422
    assert [problem["path"] for problem in answer.get_json(force=True)["errors"]] == [path]


def test_pages(ada: FlaskClient, eve: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "CHUNK", 3)
    for number in range(7):
        saved(ada, f"mine-{number}")
        saved(eve, f"mine-{number}-eve")
    seen, query = [], "?limit=2"
    while query:
        page = ada.get(f"{AT}{query}").get_json()
        seen += [template["name"] for template in page["templates"]]
        query = f"?limit=2&cursor={page['next']}" if page["next"] else ""
    assert seen == sorted([*SHIPPED, *(f"mine-{number}" for number in range(7))])


def test_one_user_has_not_too_many(ada: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MAX_OF_ONE", 1)
    saved(ada)
    answer = ada.post(AT, json={"name": "more", "contract": {}})
    assert answer.status_code == 409
    assert "Delete one first" in answer.get_json(force=True)["detail"]
