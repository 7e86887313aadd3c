"""The message that a claim sends: Celery's own, but for what is random in it."""

from __future__ import annotations

import base64
import json
from typing import Any

from celery_parts import celery_on
from ledger_parts import PREFIX, OneHost, wants

from common.ledger import Ledger
from workers.nudges import message

pytest_plugins = ["ledger_fixtures"]


QUEUE = "host.h1"


def read(text: str) -> dict[str, Any]:
    """A message as kombu reads it, without what says how its body is written."""
    found = json.loads(text)
    body, encoding = found["body"], found["properties"].pop("body_encoding", None)
    found["body"] = json.loads(base64.b64decode(body) if encoding == "base64" else body)
    return dict(found)


def test_a_claim_sends_for_each_what_celery_would_send(ledger: Ledger) -> None:
    app, host = celery_on(f"redis+socket://{ledger.redis.get_connection_kwargs()['path']}"), OneHost(ledger)
    task = app.tasks["start_environment"]
    for env_id in ("e1", "e2", "e3"):
        ledger.submit(env_id, "ann", wants(), origin=f"origin-{env_id}")
    jobs = ledger.claim_some("h1", host.epoch, 2, message(task, QUEUE))
    assert [job.id for job in jobs] == ["e1", "e2"]
    assert jobs[0] == ledger.job("e1")
    sent = [read(text) for text in ledger.redis.lrange(ledger.keys.messages("h1"), 0, -1)]
    ledger.redis.delete(ledger.keys.messages("h1"))
    for job, ours in zip(reversed(jobs), sent, strict=True):
        name = f"{job.id}-{job.token}"
        task.apply_async((job.id, job.token), queue=QUEUE, task_id=name)
        theirs = read(ledger.redis.rpop(ledger.keys.messages("h1")) or "")
        theirs["properties"]["delivery_tag"] = name
        for reply_to in (theirs, ours):
            del reply_to["properties"]["reply_to"]
        assert ours == theirs
    for key in ledger.redis.scan_iter(f"{PREFIX}:celery:*"):
        ledger.redis.delete(key)
    app.close()


def test_a_claim_that_is_repeated_sends_nothing_again(ledger: Ledger) -> None:
    host = OneHost(ledger)
    ledger.submit("e1", "ann", wants())
    replies = [ledger._call("claim", "h1", host.epoch, "request", 5, "@env@ @token@") for _ in range(2)]
    assert replies[0] == replies[1]
    sent = ledger.redis.lrange(ledger.keys.messages("h1"), 0, -1)
    ledger.redis.delete(ledger.keys.messages("h1"))
    assert sent == [f"e1 {ledger.job('e1').token}"]
