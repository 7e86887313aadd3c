"""Whether libraries go together, in words for the form: what a host has found out, or the resolver's own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api import checks
from common import units
from common.contract import Contract


@dataclass(frozen=True)
class Together:
    """`verdict` is ok, conflict or unknown."""

    verdict: str
    sentence: str
    said: str = ""  # by the host, or the resolver on it
    packages: tuple[str, ...] = ()


NOT_YET = Together("unknown", "Something has to be corrected first.")


def together(wanted: Contract) -> Together:
    """Ask a host, which may take a while."""
    if not (wanted.libraries or wanted.lock):
        return Together("unknown", "No library is asked for yet.")
    found = checks.together(wanted)
    match found["verdict"]:
        case "ok":
            return Together("ok", _yes(found), found["message"], tuple(found["packages"]))
        case "conflict":
            return Together("conflict", "No, they cannot be installed together.", found["message"])
    return Together("unknown", "It could not be found out.", found["message"])


def _yes(found: dict[str, Any]) -> str:
    amount = found["installed_bytes"] if found["present"] else found["download_bytes"]
    size = "" if amount is None else units.human_mib(max(1, round(amount / units.MIB)))
    if found["present"]:
        return f"Yes, and they are on {found['host']} already{size and f', {size} of them'}."
    return f"Yes{size and f'; {size} would be fetched'}."
