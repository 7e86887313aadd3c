"""What the ledger remembers goes when it says nothing any more."""

from __future__ import annotations

import time

from ledger_parts import OneHost, wants

from common.ledger import Ledger

pytest_plugins = ["ledger_fixtures"]


def tags(ledger: Ledger) -> set[str]:
    return {field for field in ledger.redis.hkeys(ledger.keys.ledger()) if field.startswith("f:")}


def test_an_owners_finish_tag_goes_when_virtual_time_has_passed_it(ledger: Ledger) -> None:
    ledger.submit("e1", "ann", wants())
    ledger.submit("e2", "bob", wants())
    ledger.delete("e2")
    ledger.expire()
    assert tags(ledger) == {"f:5:ann"}
    host = OneHost(ledger)
    ledger.submit("e3", "ann", wants())
    ledger.submit("e4", "bob", wants())
    while job := ledger.claim("h1", host.epoch):
        host.end(job.id)
    ledger.expire()
    assert tags(ledger) == {"f:5:ann"}
    virtual_time = int(ledger.redis.hget(ledger.keys.ledger(), "v:5") or 0)
    assert int(ledger.redis.hget(ledger.keys.ledger(), "f:5:ann") or 0) > virtual_time > 0


def test_tags_of_very_many_owners_go_in_parts(ledger: Ledger) -> None:
    for number in range(1200):
        ledger.submit(f"e{number}", f"user{number}", wants())
        ledger.delete(f"e{number}")
    for _ in range(20):
        ledger.expire()
    assert not tags(ledger)


def test_an_idempotency_key_is_known_as_long_as_its_environment_is(ledger: Ledger) -> None:
    ledger.submit("e1", "ann", wants(), request="k", digest="d")
    key = "test:request:ann:k"
    assert ledger.redis.ttl(key) == -1
    ledger.configure(keep_seconds=0.001)
    ledger.delete("e1")
    time.sleep(0.01)
    ledger.expire()
    assert not ledger.redis.exists(key)
    assert ledger.submit("e2", "ann", wants(), request="k", digest="d").id == "e2"
