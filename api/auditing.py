"""What of the requests goes into the audit log: all that changes something, all that only an admin may, all attempts
to sign in, and what an admin sees of somebody else's. What nobody did, having no valid token, does not."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from flask import Flask, Response, current_app, g, request

from api import auth
from api.services import services
from common.audit import Entry, now
from common.principal import Principal

# each key that is typed (`channels.begin` has its line), questions that change nothing, and what pages are drawn with
QUIET = frozenset(
    {
        *("channels.give", "checks.check", "imports.convert_file", "pages.check", "pages.fill", "pages.ask_libraries"),
        "pages.flower_file",
    }
)
LOOKS = frozenset({"pages.flower_tasks"})  # a POST for its length alone
AGAIN_SECONDS = 600.0  # after which the same look counts as another; pages look every second
_MOST_SEEN = 10_000


def register(app: Flask) -> None:
    """Put it behind every request of `app`."""
    app.extensions["dcloud.seen"] = {}
    app.after_request(_record)


def note(target: str = "", user: str = "", **details: Any) -> None:
    """Say what the current request is about, where its address does not: never a secret."""
    noted = g.setdefault("audit", {"target": "", "user": "", "details": {}})
    noted["target"] = target or noted["target"]
    noted["user"] = user or noted["user"]
    noted["details"].update(details)


def ahead(status: int, target: str, **details: Any) -> Entry:
    """The entry of the current request, should it end in this way: for who writes it together with what it tells of.

    `written` says that it was. Where the request ends otherwise, there is an entry of that too.
    """
    return replace(_entry(status, target, "", details), at=now())


def written(entry: Entry, line: str) -> None:
    """Say that Redis has this entry of the current request, as this line."""
    g.written = entry, line


def _record(response: Response) -> Response:
    endpoint, caller = request.endpoint or "", g.get("principal")
    noted = g.get("audit", {"target": "", "user": "", "details": {}})
    if endpoint and endpoint not in QUIET and (caller or noted["user"] or noted["target"]):
        target = noted["target"] or "/".join(str(value) for value in (request.view_args or {}).values())
        user = caller.user if caller else noted["user"]
        if (noted["user"] or _counts(endpoint, caller, target)) and not _is_flood(response, user, endpoint, target):
            entry = _entry(response.status_code, target, noted["user"], noted["details"])
            there, line = g.get("written", (None, ""))
            if there is not None and replace(entry, at=there.at) == there:
                services().audit.file_away(line)
            else:
                services().audit.write(entry, redis=response.status_code != 503)
    return response


def _entry(status: int, target: str, user: str, details: dict[str, Any]) -> Entry:
    caller: Principal | None = g.get("principal")
    return Entry(
        action=request.endpoint or "",
        user=caller.user if caller else user,
        target=target,
        status=status,
        token=caller.token_id if caller else "",
        address=request.remote_addr or "",
        request=g.get("request_id", ""),
        details=details,
    )


def _counts(endpoint: str, caller: Principal | None, target: str) -> bool:
    if request.method not in auth.SAFE_METHODS and endpoint not in LOOKS:
        return True
    privileged = "admin" in auth.needs(current_app, endpoint, request.method) or g.get("anothers", False)
    return privileged and caller is not None and not _just_seen((caller.user, endpoint, target))


def _is_flood(response: Response, user: str, endpoint: str, target: str) -> bool:
    """Whether it is one more refusal of many: whoever sends a thousand a second must not fill the log."""
    return response.status_code == 429 and _just_seen((user, endpoint, f"429 {target} {request.remote_addr}"))


def _just_seen(look: tuple[str, str, str]) -> bool:
    seen: dict[tuple[str, str, str], float] = current_app.extensions["dcloud.seen"]
    now = time.monotonic()
    if now - seen.get(look, -AGAIN_SECONDS) < AGAIN_SECONDS:
        return True
    if len(seen) >= _MOST_SEEN:
        seen.clear()
    seen[look] = now
    return False
