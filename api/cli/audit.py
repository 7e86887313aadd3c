"""`dcloud audit`."""

from __future__ import annotations

from itertools import islice

import click

from api.cli import output
from api.cli.connection import connect


@click.command()
@click.option("--user", default="", help="What this user did.")
@click.option("--action", default="", help="One kind of action, as in users.create.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 50_000), help="How many at most.")
@output.as_json
def audit(user: str, action: str, limit: int, json_: bool) -> None:
    """Who did what to what, newest first; for admins."""
    found = list(islice(connect().audit(user, action), limit))
    if json_:
        return output.document(found)
    rows = [(e["at"], e["user"] or "nobody", e["action"], e["target"], str(e["status"]), e["address"]) for e in found]
    return output.table(("AT", "USER", "ACTION", "TARGET", "STATUS", "FROM"), rows)
