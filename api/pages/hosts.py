"""Hosts as pictures: what each has, what of it is taken, and by which environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Response, url_for

from api import auth
from api import hosts as host_calls
from api.auth import principal
from api.pages.blueprint import blueprint, page, see
from api.pages.words import colour
from api.services import services
from common import units
from common.environment import Environment
from common.inventory import Gpu, Host
from common.principal import Principal
from common.states import ON_HOST, State


@dataclass(frozen=True)
class Part:
    """A piece of a bar, in percent of the whole, with the words that describe it."""

    start: float
    width: float
    title: str
    tint: str
    env_id: str = ""


@dataclass(frozen=True)
class Bar:
    """One resource of a host."""

    name: str
    free: str
    total: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Cell:
    """One GPU."""

    gpu: Gpu
    free: bool
    title: str
    tint: str


@dataclass(frozen=True)
class Picture:
    """One host."""

    host: Host
    bars: tuple[Bar, ...]
    cells: tuple[Cell, ...]
    environments: tuple[Environment, ...]  # those that the viewer may know


@blueprint.get("/hosts")
def hosts() -> Response:
    """Every host."""
    found = services().ledger.hosts()
    known = services().ledger.several([env_id for host in found for env_id in host.environments])
    pictures = [picture(host, [known[i] for i in host.environments if i in known], principal()) for host in found]
    return page("hosts.html", pictures=pictures, totals=_totals(found))


@blueprint.post("/hosts/<name>/drain")
@auth.admin
def drain(name: str) -> Response:
    """Let it take nothing new."""
    host_calls.drain(name)
    return see(url_for("pages.hosts"))


@blueprint.post("/hosts/<name>/undrain")
@auth.admin
def undrain(name: str) -> Response:
    """Let it take environments again."""
    host_calls.undrain(name)
    return see(url_for("pages.hosts"))


@blueprint.post("/hosts/<name>/forget")
@auth.admin
def forget(name: str) -> Response:
    """Forget one that is gone and holds nothing."""
    host_calls.forget(name)
    return see(url_for("pages.hosts"))


def picture(host: Host, holders: Sequence[Environment], viewer: Principal) -> Picture:
    """What `viewer` may see of a host; `holders` are the environments that hold something of it."""
    i = host.inventory
    living = [e for e in holders if e.state in ON_HOST]
    bars = (
        _bar("CPU", i.cpu_milli, host.free_cpu_milli, [(e, e.contract.resources.cpu_milli) for e in living], viewer),
        _bar("RAM", i.ram_mib, host.free_ram_mib, [(e, e.contract.resources.ram_mib) for e in living], viewer),
        _bar(
            "Storage", i.storage_mib, host.free_storage_mib,
            [(e, e.contract.resources.storage_mib) for e in holders if e.state is not State.FAILED], viewer,
        ),
    )  # fmt: skip
    by_gpu = {uuid: e for e in living for uuid in e.gpus}
    cells = tuple(_cell(gpu, gpu.uuid in host.free_gpus, by_gpu.get(gpu.uuid), viewer) for gpu in i.gpus)
    return Picture(host, bars, cells, tuple(e for e in holders if _may_know(e, viewer)))


def _bar(name: str, total: int, free: int, amounts: Sequence[tuple[Environment, int]], viewer: Principal) -> Bar:
    human = units.human_cpu if name == "CPU" else units.human_mib
    parts, at = [], 0.0
    for e, amount in amounts:
        width = min(100 * amount / max(total, 1), 100 - at)
        parts.append(Part(round(at, 2), round(width, 2), f"{_who(e, viewer)}: {human(amount)}", _tint(e, viewer), e.id))
        at += width
    rest = 100 * (total - free) / max(total, 1) - at
    if rest > 0.5:  # held by what the ledger knows and this page does not
        parts.append(Part(round(at, 2), round(rest, 2), "taken", "tint-other"))
    return Bar(name, human(free), human(total), tuple(parts))


def _cell(gpu: Gpu, free: bool, holder: Environment | None, viewer: Principal) -> Cell:
    if not gpu.healthy:
        return Cell(gpu, False, "out of order", "sick")
    if holder is not None:
        return Cell(gpu, False, _who(holder, viewer), _tint(holder, viewer))
    return Cell(gpu, free, "free" if free else "taken", "" if free else "tint-other")


def _may_know(e: Environment, viewer: Principal) -> bool:
    return viewer.admin or e.owner == viewer.user


def _who(e: Environment, viewer: Principal) -> str:
    if not _may_know(e, viewer):
        return "another user"
    return e.name if e.owner == viewer.user else f"{e.name} of {e.owner}"


def _tint(e: Environment, viewer: Principal) -> str:
    return colour(e.id) if _may_know(e, viewer) else "tint-other"


def _totals(found: Sequence[Host]) -> dict[str, str]:
    ready = [host for host in found if host.state == "ready"]
    gpus = [gpu for host in ready for gpu in host.inventory.gpus if gpu.healthy]
    return {
        "Hosts": f"{len(ready)} of {len(found)} ready",
        "CPU": f"{units.human_cpu(sum(h.free_cpu_milli for h in ready))} of "
        f"{units.human_cpu(sum(h.inventory.cpu_milli for h in ready))} cores free",
        "RAM": f"{units.human_mib(sum(h.free_ram_mib for h in ready))} of "
        f"{units.human_mib(sum(h.inventory.ram_mib for h in ready))} free",
        "GPUs": f"{sum(len(h.free_gpus) for h in ready)} of {len(gpus)} free" if gpus else "none",
    }
