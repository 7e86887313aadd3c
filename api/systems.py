"""Systems: whether some host can make the operating system and the language that a contract asks for."""

from __future__ import annotations

from common.contract import Contract
from common.inventory import Host


def missing(contract: Contract, hosts: list[Host]) -> str:
    """Why no host can make the system of `contract`, "" where one can or one has not said what it offers."""
    if not all(host.inventory.offers for host in hosts):
        return ""
    offers = {offer for host in hosts for offer in host.inventory.offers}
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
