"""Systems: whether some host can make the operating system and the language that a contract asks for."""

from __future__ import annotations

from common.contract import Contract
from common.inventory import Host
from common.ledger import Ledger

_known: set[tuple[str, str, str, str]] = set()  # what some host offered since this process began


def unavailable(contract: Contract, ledger: Ledger) -> str:
    """`missing` for a submit, which pays for a look at the hosts only where the system is not a usual one."""
    system = (contract.os.name, contract.os.version, contract.language.name, contract.language.version)
    if system in _known:
        return ""
    hosts = ledger.hosts()
    problem = missing(contract, hosts)
    if not problem and any(host.inventory.offers for host in hosts):
        _known.add(system)
    return problem


def missing(contract: Contract, hosts: list[Host]) -> str:
    """Why no live host can make the system of `contract`, "" where one can or none has said what it offers."""
    offers = {offer for host in hosts if host.state != "lost" for offer in host.inventory.offers}
    os, language = contract.os, contract.language
    if not offers or any(
        (offer.os, offer.version, offer.language) == (os.name, os.version, language.name)
        and any(_is_version(language.version, version) for version in offer.language_versions)
        for offer in offers
    ):
        return ""
    have = "; ".join(
        sorted(
            f"{offer.os} {offer.version} with {offer.language} {', '.join(offer.language_versions)}" for offer in offers
        )
    )
    return f"No host has {os.name} {os.version} with {language.name} {language.version}. To be had: {have}."


def _is_version(wanted: str, offered: str) -> bool:
    """Whether what is asked for is what is offered, or a patch of it: 3.11.2 of 3.11."""
    return wanted == offered or wanted.startswith(f"{offered}.")
