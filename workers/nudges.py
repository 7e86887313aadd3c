"""The message that a claim sends by itself, in the step that claims: what Celery would send, with places to fill in.

Between a claim and its message nothing can be lost then, and a task begins a round trip earlier. The ledger puts id and
token into the text, so the body is JSON within JSON and not base64, which kombu reads as well.
"""

from __future__ import annotations

import json
from typing import Any

ENV, TOKEN = "@env@", "@token@"  # as `claim.lua` knows them


def message(task: Any, queue: str) -> str:
    """A message for the Celery task `task` with arguments (id, token) to a queue."""
    name = f"{ENV}-{TOKEN}"  # an allocation has one such message
    made = task.app.amqp.as_task_v2(name, task.name, (ENV, TOKEN), argsrepr=f"('{ENV}', {TOKEN})", ignore_result=True)
    properties = {"delivery_info": {"exchange": "", "routing_key": queue}, "delivery_mode": 2, "priority": 0}
    return json.dumps(
        {
            "body": json.dumps(made.body).replace(f'"{TOKEN}"', TOKEN),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": made.headers,
            "properties": {**made.properties, **properties, "delivery_tag": name},
        }
    )
