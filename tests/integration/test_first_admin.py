"""The token that the first start makes, and what becomes of it later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from redis import Redis

from common.accounts import ADMIN, Accounts
from common.keys import Keys
from deploy import up
from deploy.installation import Installation


@pytest.fixture
def installation(redis_url: str, tmp_path: Path) -> Installation:
    found = Installation(tmp_path / "var")
    found.save({"DCLOUD_REDIS_URL": redis_url, "DCLOUD_VAR_DIR": str(found.var)})
    return found


@pytest.fixture
def accounts(redis_url: str) -> Accounts:
    return Accounts(Redis.from_url(redis_url, decode_responses=True), Keys("dcloud"))


def test_the_first_start_makes_a_token_and_the_next_keeps_it(installation: Installation, accounts: Accounts) -> None:
    up._admin(installation)
    token = installation.token_file.read_text()
    up._admin(installation)
    assert installation.token_file.read_text() == token
    assert installation.token_file.stat().st_mode & 0o777 == 0o600
    caller = accounts.verify(token.strip())
    assert caller is not None
    assert (caller.user, caller.admin) == (ADMIN, True)
    [line] = (installation.var / "log" / "audit.jsonl").read_text().splitlines()
    assert json.loads(line)["details"] == {"token": caller.token_id}
    assert token.split("_")[3].strip() not in line


def test_a_lost_token_is_replaced(installation: Installation, accounts: Accounts) -> None:
    up._admin(installation)
    installation.token_file.unlink()
    up._admin(installation)
    assert accounts.verify(installation.token_file.read_text().strip())
    accounts.revoke(ADMIN, installation.token_file.read_text().split("_")[2])
    up._admin(installation)
    assert accounts.verify(installation.token_file.read_text().strip())


def test_an_admin_who_is_disabled_gets_none(installation: Installation, accounts: Accounts) -> None:
    up._admin(installation)
    accounts.set_disabled(ADMIN, True)
    for _ in range(3):
        up._admin(installation)
    assert not installation.token_file.exists()
    assert len(accounts.tokens(ADMIN)) == 1
