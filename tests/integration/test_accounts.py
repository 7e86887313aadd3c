"""Users and tokens against a real Redis."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from redis import Redis

from common import ids
from common.accounts import ADMIN, Accounts, ensure_admin
from common.errors import DCloudError, NotFound
from common.keys import Keys

KEYS = Keys("test")


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return Redis.from_url(redis_url, decode_responses=True)


@pytest.fixture
def accounts(redis: Redis) -> Accounts:
    return Accounts(redis, KEYS)


def test_a_token_says_who_calls(accounts: Accounts) -> None:
    accounts.create_user("ada")
    caller = accounts.verify(accounts.create_token("ada", scopes=["read", "submit"]))
    assert caller is not None
    assert (caller.user, caller.role, caller.scopes, caller.admin) == ("ada", "user", {"read", "submit"}, False)
    assert accounts.principal(caller.token_id) == caller


def test_only_an_admin_with_the_scope_is_an_admin(accounts: Accounts) -> None:
    accounts.create_user("root", "admin")
    accounts.create_user("ada")
    admins = {}
    for user, scopes in itertools.product(["root", "ada"], [("read",), ("read", "submit", "admin")]):
        caller = accounts.verify(accounts.create_token(user, scopes=scopes))
        assert caller is not None
        admins[user, len(scopes)] = caller.admin
    assert admins == {("root", 1): False, ("root", 3): True, ("ada", 1): False, ("ada", 3): False}


def test_a_mistyped_token_is_refused_without_asking_redis() -> None:
    redis = Redis(port=1)  # nobody listens there
    accounts = Accounts(redis, KEYS)
    token = "dc_u_0123456789_0123456789abcdefghjkmnpqrstvwxyz0000000"
    assert accounts.verify(token) is None
    for wrong in ("", "x", "Bearer", token.upper(), token + "\n", token[:-1], "dc_u_" * 1000):
        assert accounts.verify(wrong) is None


def test_every_single_wrong_character_is_noticed(accounts: Accounts) -> None:
    accounts.create_user("ada")
    token = accounts.create_token("ada")
    for place in range(5, len(token)):
        other = "x" if token[place] != "x" else "y"
        assert accounts.verify(token[:place] + other + token[place + 1 :]) is None


def test_a_right_checksum_with_a_wrong_secret_opens_nothing(accounts: Accounts) -> None:
    accounts.create_user("ada")
    token_id = accounts.create_token("ada").split("_")[2]
    accounts.create_user("eve")
    forged = accounts.create_token("eve").split("_")[3][:32]
    body = f"dc_u_{token_id}_{forged}"
    from common.accounts import _checksum

    assert accounts.verify(body + _checksum(body)) is None


def test_redis_holds_nothing_that_opens_anything(accounts: Accounts, redis: Redis) -> None:
    accounts.create_user("ada")
    token = accounts.create_token("ada")
    secret = token.split("_")[3]
    held = json.dumps({key: redis.hgetall(key) for key in redis.keys("*:apitoken:*")})
    assert secret not in held
    digest = next(iter(json.loads(held).values()))["digest"]
    assert accounts.verify(digest) is None
    assert accounts.verify(f"dc_u_{token.split('_')[2]}_{digest}") is None


def test_a_token_ends(accounts: Accounts, redis: Redis) -> None:
    accounts.create_user("ada")
    revoked, expired = accounts.create_token("ada"), accounts.create_token("ada", lifetime_seconds=3600)
    assert accounts.verify(expired)
    redis.hset(KEYS.api_token(expired.split("_")[2]), "expires", f"{time.time() - 1}")
    assert accounts.verify(expired) is None
    accounts.revoke("ada", revoked.split("_")[2])
    assert accounts.verify(revoked) is None
    assert accounts.principal(revoked.split("_")[2]) is None
    with pytest.raises(NotFound):
        accounts.revoke("ada", revoked.split("_")[2])


def test_nobody_revokes_the_token_of_another(accounts: Accounts) -> None:
    for user in ("ada", "eve"):
        accounts.create_user(user)
    token = accounts.create_token("ada")
    with pytest.raises(NotFound):
        accounts.revoke("eve", token.split("_")[2])
    assert accounts.verify(token)


def test_tokens_are_listed_without_their_secret_and_with_their_last_use(accounts: Accounts) -> None:
    accounts.create_user("ada")
    token = accounts.create_token("ada", label="laptop", scopes=["read"])
    [listed] = accounts.tokens("ada")
    assert (listed.label, listed.scopes, listed.used_at, listed.expires_at) == ("laptop", {"read"}, None, None)
    assert token.split("_")[3] not in repr(listed)
    accounts.verify(token)
    [listed] = accounts.tokens("ada")
    assert listed.used_at == pytest.approx(time.time(), abs=5)


@pytest.mark.parametrize("name", ["", "Ada", "a b", "-a", "a" * 33, "a/b", "a:b", "a\n", "é"])
def test_a_user_name_is_plain(accounts: Accounts, name: str) -> None:
    with pytest.raises(DCloudError, match="not a user name"):
        accounts.create_user(name)
    assert accounts.users() == []


def test_a_name_is_taken_once(accounts: Accounts) -> None:
    accounts.create_user("ada", "admin")
    with pytest.raises(DCloudError, match="already"):
        accounts.create_user("ada")
    assert accounts.user("ada").role == "admin"


@pytest.mark.parametrize("wrong", [{"role": "root"}, {"scopes": ["all"]}])
def test_roles_and_scopes_are_known_ones(accounts: Accounts, wrong: dict[str, str]) -> None:
    accounts.create_user("ada")
    with pytest.raises(DCloudError, match="Choose"):
        accounts.create_user("eve", wrong["role"]) if "role" in wrong else accounts.create_token("ada", **wrong)
    with pytest.raises(NotFound):
        accounts.create_token("nobody")


def test_the_first_admin_is_made_once(redis: Redis, accounts: Accounts) -> None:
    token = ensure_admin(redis, KEYS)
    assert token
    caller = accounts.verify(token)
    assert caller
    assert (caller.user, caller.admin) == (ADMIN, True)
    assert ensure_admin(redis, KEYS) is None


def test_secrets_are_the_same_for_everyone_and_differ_by_name(redis: Redis, accounts: Accounts) -> None:
    assert accounts.secret("a") == Accounts(redis, KEYS).secret("a")
    assert accounts.secret("a") != accounts.secret("b")
    assert len(accounts.secret("a")) == 64


def test_ids_sort_by_time_and_do_not_repeat() -> None:
    made = []
    for _ in range(50):
        made.append(ids.new_id())
        time.sleep(0.002)
    assert made == sorted(made)
    assert all(ids.PATTERN.fullmatch(one) for one in made)
    assert len({ids.new_id() for _ in range(10_000)}) == 10_000
