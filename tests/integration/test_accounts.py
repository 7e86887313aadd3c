"""Users and tokens against a real Redis."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from redis import Redis

from common import ids
from common.accounts import ADMIN, Accounts, ensure_admin
from common.attempts import MOST, Attempts
from common.errors import DCloudError, NotFound, TooMany, Unsuitable
from common.keys import Keys
from common.sessions import Sessions
from common.tokens import Tokens, id_of

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


def test_a_token_that_was_seen_before_is_asked_about_in_one_trip_and_what_changed_counts_at_once(
    accounts: Accounts, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.create_user("ada")
    token = accounts.create_token("ada")
    first = accounts.verify(token)
    with monkeypatch.context() as patched:
        patched.setattr(Accounts, "_users", lambda *_: pytest.fail("a second trip"))
        assert accounts.verify(token) == first
        accounts_elsewhere = Accounts(redis, KEYS)
        patched.undo()
        accounts_elsewhere.set_role("ada", "admin")
        changed = accounts.verify(token)
        assert changed is not None
        assert changed.role == "admin"
        accounts_elsewhere.set_disabled("ada", True)
        assert accounts.verify(token) is None
        accounts_elsewhere.set_disabled("ada", False)
        redis.delete(KEYS.user("ada"))
        assert accounts.verify(token) is None


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
    from common.tokens import _checksum

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


@pytest.mark.parametrize("name", ["", "me", "Ada", "a b", "-a", "a" * 33, "a/b", "a:b", "a\n", "é"])
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


def test_a_rotated_token_works_until_the_overlap_is_over(accounts: Accounts, redis: Redis) -> None:
    accounts.create_user("ada")
    old = accounts.create_token("ada", "ci", ["read"], 3600, "service")
    new = accounts.rotate("ada", id_of(old), overlap_seconds=60)
    assert new.startswith("dc_s_")
    assert accounts.verify(old)
    before, after = accounts.tokens("ada")
    assert (before.replaced_by, after.replaced_by) == (id_of(new), "")
    assert (after.label, after.kind, after.scopes) == ("ci", "service", {"read"})
    assert before.expires_at == pytest.approx(time.time() + 60, abs=5)
    assert after.expires_at == pytest.approx(time.time() + 3600, abs=5)
    with pytest.raises(Unsuitable):
        accounts.rotate("ada", id_of(old), overlap_seconds=60)
    at_once = accounts.rotate("ada", id_of(new), overlap_seconds=0)
    time.sleep(0.01)
    assert accounts.verify(new) is None
    assert accounts.verify(at_once)


def test_a_token_that_was_revoked_meanwhile_does_not_come_back(accounts: Accounts, redis: Redis) -> None:
    accounts.create_user("ada")
    text = accounts.create_token("ada")
    [seen] = accounts.tokens("ada")
    accounts.revoke("ada", seen.id)
    with pytest.raises(Unsuitable):
        Tokens(redis, KEYS).rotate(seen, 60)
    assert accounts.verify(text) is None
    assert redis.keys("*apitoken*") == []


def test_a_token_that_has_long_expired_is_forgotten(accounts: Accounts, redis: Redis) -> None:
    accounts.create_user("ada")
    token_id = id_of(accounts.create_token("ada", lifetime_seconds=60))
    assert 30 * 86400 < redis.ttl(KEYS.api_token(token_id)) <= 30 * 86400 + 60  # type: ignore[operator]
    redis.delete(KEYS.api_token(token_id))
    assert accounts.tokens("ada") == []
    assert redis.keys("*apitoken*") == []


def test_nobody_hoards_tokens(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.tokens.MOST_A_USER", 3)
    accounts.create_user("ada")
    for _ in range(3):
        accounts.create_token("ada")
    with pytest.raises(Unsuitable, match="Revoke"):
        accounts.create_token("ada")


def test_a_password_opens_its_account_and_no_other(accounts: Accounts, redis: Redis) -> None:
    accounts.create_user("ada")
    accounts.create_user("eve")
    assert accounts.check_password("ada", "") is None  # she has none yet
    accounts.set_password("ada", "correct horse battery")
    accounts.set_password("eve", "staple correct horse")
    found = accounts.check_password("ada", "correct horse battery")
    assert found is not None
    assert (found.name, found.has_password) == ("ada", True)
    for name, password in (
        ("ada", "staple correct horse"),
        ("ada", "correct horse battery "),
        ("ada", ""),
        ("a:b", "x"),
    ):
        assert accounts.check_password(name, password) is None
    kept = redis.hget(KEYS.user("ada"), "password")
    assert str(kept).startswith("$argon2id$")
    assert accounts.check_password("ada", str(kept)) is None


def test_one_letter_typed_in_two_ways_is_one_password(accounts: Accounts) -> None:
    accounts.create_user("ada")
    accounts.set_password("ada", "caf\u00e9 au lait noir")
    assert accounts.check_password("ada", "cafe\u0301 au lait noir")


@pytest.mark.parametrize("password", ["", "short", "a" * 20, "ada.lovelace" + "1234", "x" * 257, "\ud800"])
def test_a_weak_password_is_refused(accounts: Accounts, password: str) -> None:
    accounts.create_user("ada.lovelace")
    with pytest.raises(DCloudError, match="few words"):
        accounts.set_password("ada.lovelace", password)
    assert not accounts.user("ada.lovelace").has_password


def test_nobody_learns_from_the_time_whether_an_account_exists(accounts: Accounts) -> None:
    accounts.create_user("ada")
    accounts.set_password("ada", "correct horse battery")
    accounts.check_password("warm", "up")

    def cost(name: str) -> float:
        began = time.process_time()
        accounts.check_password(name, "wrong horse battery")
        return time.process_time() - began

    assert min(cost("nobody") for _ in range(3)) > 0.3 * min(cost("ada") for _ in range(3))


def test_a_disabled_account_can_do_nothing_until_it_is_enabled(accounts: Accounts, redis: Redis) -> None:
    accounts.create_user("ada")
    accounts.set_password("ada", "correct horse battery")
    token, sessions = accounts.create_token("ada"), Sessions(redis, KEYS, accounts)
    session = sessions.begin("ada")
    accounts.set_disabled("ada", True)
    assert accounts.verify(token) is None
    assert accounts.check_password("ada", "correct horse battery") is None
    assert sessions.principal(session) is None
    accounts.set_disabled("ada", False)
    assert accounts.verify(token)
    assert accounts.check_password("ada", "correct horse battery")
    assert sessions.principal(session) is None  # it ended


def test_a_session_ends_with_what_its_user_may(accounts: Accounts, redis: Redis) -> None:
    accounts.create_user("ada")
    sessions = Sessions(redis, KEYS, accounts)
    for change in (
        lambda: accounts.set_password("ada", "correct horse battery"),
        lambda: accounts.set_role("ada", "admin"),
    ):
        session = sessions.begin("ada")
        assert sessions.principal(session)
        change()
        assert sessions.principal(session) is None
    session = sessions.begin("ada")
    found = sessions.principal(session)
    assert found is not None
    assert (found.user, found.admin, found.token_id) == ("ada", True, "")
    assert session not in json.dumps(redis.keys())
    assert 0 < redis.ttl(redis.keys("*:session:*")[0]) <= 12 * 3600  # type: ignore[index, operator]
    sessions.end(session)
    assert sessions.principal(session) is None


def test_attempts_are_counted_by_name_and_by_address(redis: Redis) -> None:
    attempts = Attempts(redis, KEYS)
    for _ in range(MOST["both"]):
        attempts.count("ada", "10.0.0.1")
    with pytest.raises(TooMany) as told:
        attempts.count("ada", "10.0.0.1")
    assert 0 < told.value.retry_after_seconds <= 900
    attempts.count("ada", "10.0.0.2")  # the owner, elsewhere
    attempts.count("eve", "10.0.0.1")
    attempts.forget("ada", "10.0.0.1")
    attempts.count("ada", "10.0.0.1")
    for number in range(MOST["address"]):
        attempts.count(f"u{number}", "10.0.0.3")
    with pytest.raises(TooMany):
        attempts.count("one more", "10.0.0.3")
    assert "ada" not in json.dumps(redis.keys())  # a password typed into the wrong field is kept nowhere


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
