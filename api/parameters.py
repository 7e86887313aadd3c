"""Query parameters are those that a call describes: a mistyped `?staet=` must not list what was not meant."""

from __future__ import annotations

import difflib

from flask import Flask, current_app, request

from api.problems import Refused
from api.wire import ROOT


def register(app: Flask) -> None:
    """Refuse others in every call of `app`."""
    app.before_request(_refuse_unknown)


def _refuse_unknown() -> None:
    if not request.args or request.endpoint is None or not request.path.startswith(ROOT):
        return
    said = getattr(current_app.view_functions[request.endpoint], "described", None)
    known = [one["name"] for one in said.parameters if one["in"] == "query"] if said else []
    for name in request.args:
        if name not in known:
            close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.7)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known) or 'none'}."
            raise Refused(400, f"{name[:40]!r} is not a parameter of this call. {hint}")
