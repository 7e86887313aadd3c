"""Limits of what somebody's environments may hold together, and of everyone's: shown to each, set by admins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, request, url_for

from api import auth, bodies, quotas
from api.pages.blueprint import blueprint, see
from common.ledger import Quota

GIB_MIB = 1024

# title, field of the form, name in the ledger, how much of the ledger's unit is one of the form's
AMOUNTS = (
    ("Environments", "environments", "environments", 1),
    ("CPU, cores", "cpu", "cpu_milli", 1000),
    ("RAM, GiB", "ram", "ram_mib", GIB_MIB),
    ("GPUs", "gpus", "gpus", 1),
    ("Storage, GiB", "storage", "storage_mib", GIB_MIB),
)


@dataclass(frozen=True)
class Row:
    """One amount in the form's unit; `most` None is no limit."""

    title: str
    field: str
    used: float
    most: float | None


@blueprint.post("/people/<name>/quota")
@auth.admin
def set_quota(name: str) -> Response:
    """Limits of their own, or those of everyone again."""
    if "default" in request.form:
        quotas.take(name)
    else:
        bodies.instead(_sent())
        quotas.give(name)
    return see(url_for("pages.person", name=name))


@blueprint.post("/quota")
@auth.admin
def set_default_quota() -> Response:
    """Limits of everyone who has none of their own, or none at all."""
    if "none" in request.form:
        quotas.take_default()
    else:
        bodies.instead(_sent())
        quotas.give_default()
    return see(url_for("pages.people"))


def rows(limit: Quota, used: Quota | None = None) -> list[Row]:
    """Each amount, for people."""
    return [
        Row(title, field, ((getattr(used, name) if used else 0) or 0) / by, None if most is None else most / by)
        for title, field, name, by in AMOUNTS
        for most in (getattr(limit, name),)
    ]


def _sent() -> dict[str, Any]:
    return {name: _number(field, by) for _, field, name, by in AMOUNTS}


def _number(name: str, times: int) -> Any:
    """What a field says in the ledger's unit, None for nothing; what is no number goes on as it is, to be refused."""
    text = request.form.get(name, "").strip()
    try:
        return round(float(text) * times) if text else None
    except (ValueError, OverflowError):
        return text
