"""Quotas: what the environments of a user may hold together. Admins set them, each user sees their own."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response

from api import auditing, auth, bodies, conditions
from api.openapi.described import IF_MATCH, IF_NONE_MATCH, described
from api.services import services
from api.users import visible
from common.fields import Strict
from common.ledger import Quota
from common.plain_fields import Whole
from common.records import Limits

blueprint = Blueprint("quotas", __name__)

EVERYONE = "*"  # in the ledger, whoever has no quota of their own
MOST = 2**40 - 1


class NewQuota(Strict):
    """Body of `PUT /quota` and `PUT /users/{name}/quota`; what is null or left out has no limit."""

    DOCUMENT = "a quota"

    environments = Whole("environments that hold something", 0, MOST, load_default=None, allow_none=True)
    cpu_milli = Whole("CPU, in thousandths of a core", 0, MOST, load_default=None, allow_none=True)
    ram_mib = Whole("RAM, in MiB", 0, MOST, load_default=None, allow_none=True)
    gpus = Whole("GPUs", 0, MOST, load_default=None, allow_none=True)
    storage_mib = Whole("storage, in MiB", 0, MOST, load_default=None, allow_none=True)


@blueprint.get("/users/<name>/quota")
@described("UserQuota", parameters=(IF_NONE_MATCH,), headers=("ETag",), also={304: "it did not change"})
def of_user(name: str) -> Response:
    """A user's limits, and what of them is used."""
    return _answer(visible(name).name)


@blueprint.put("/users/<name>/quota")
@auth.admin
@described("UserQuota", body=NewQuota, parameters=(IF_MATCH,), headers=("ETag",), refuses=(412,))
def give(name: str) -> Response:
    """Give a user limits of their own."""
    return _set(visible(name).name, Quota(**bodies.load(NewQuota)))


@blueprint.delete("/users/<name>/quota")
@auth.admin
@described("UserQuota", parameters=(IF_MATCH,), headers=("ETag",), refuses=(412,))
def take(name: str) -> Response:
    """Let the default hold for a user again."""
    return _set(visible(name).name, None)


@blueprint.get("/quota")
@described("Quota", parameters=(IF_NONE_MATCH,), headers=("ETag",), also={304: "it did not change"})
def default() -> Response:
    """The limits of everyone without some of their own."""
    return _answer(EVERYONE)


@blueprint.put("/quota")
@auth.admin
@described("Quota", body=NewQuota, parameters=(IF_MATCH,), headers=("ETag",), refuses=(412,))
def give_default() -> Response:
    """Set the default."""
    return _set(EVERYONE, Quota(**bodies.load(NewQuota)))


@blueprint.delete("/quota")
@auth.admin
@described("Quota", parameters=(IF_MATCH,), headers=("ETag",), refuses=(412,))
def take_default() -> Response:
    """Have no default: who has no limits of their own has none."""
    return _set(EVERYONE, None)


def _set(owner: str, quota: Quota | None) -> Response:
    seen = services().ledger.limits(owner)
    conditions.require(conditions.tag(_wired(owner, seen)))
    auditing.note(owner, limits=asdict(quota) if quota else None)
    services().ledger.set_quota(owner, quota, seen if conditions.named() else None)
    return _answer(owner)


def _answer(owner: str) -> Response:
    return conditions.answer(_wired(owner, services().ledger.limits(owner)))


def _wired(owner: str, found: Limits) -> dict[str, Any]:
    limits = {"limits": asdict(found.holding), "default": found.own is None or owner == EVERYONE}
    return limits if owner == EVERYONE else {"user": owner, **limits, "used": asdict(found.used)}
