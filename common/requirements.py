"""Library requirements: PEP 508 by name, and nothing that could reach further than the index."""

from __future__ import annotations

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


def requirement(text: str) -> str:
    """The canonical form of one requirement, as in `"numpy>=2"`.

    Raises ValueError with the end of a sentence for URLs, paths, options and whatever `packaging` refuses.
    """
    if text.startswith("-"):
        raise ValueError("is an option of an installer. Only library names with versions are accepted, as in numpy>=2")
    if "://" in text or "@" in text:
        raise ValueError("names an address. Only libraries from the index are accepted, as in numpy>=2")
    if text.startswith((".", "/", "~", "\\")) or "/" in text or "\\" in text:
        raise ValueError("is a path. Only libraries from the index are accepted, as in numpy>=2")
    if "$" in text or "===" in text:  # uv puts environment variables in; === takes any text as a version
        raise ValueError("contains $ or ===, which are not accepted. Write it as in numpy>=2")
    try:
        parsed = Requirement(text)
    except InvalidRequirement as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"is not a requirement as PEP 508 has it ({first})") from None
    if parsed.url:
        raise ValueError("names an address. Only libraries from the index are accepted, as in numpy>=2")
    if len(parsed.name) > 100:
        raise ValueError("has a name of more than 100 characters")
    extras = f"[{','.join(sorted(canonicalize_name(e) for e in parsed.extras))}]" if parsed.extras else ""
    marker = f"; {parsed.marker}" if parsed.marker else ""
    return f"{canonicalize_name(parsed.name)}{extras}{parsed.specifier}{marker}"
