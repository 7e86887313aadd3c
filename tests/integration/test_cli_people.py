"""The commands about people: accounts, tokens, quotas, hosts and signing in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_fixtures import serving
from openid import CLIENT_ID, CLIENT_SECRET, OpenIdProvider
from simulated_host import SimulatedHost
from test_cli import DCLOUD, dcloud, environ

from api.services import Services
from deploy.redis_server import free_port

__all__ = ["dcloud", "environ"]

PASSWORD = "correct horse battery"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def root(dcloud: Run, token_of: Callable[..., str]) -> Run:
    """`dcloud` as an admin."""
    token = token_of("root", "admin")
    return lambda *arguments, **more: dcloud(*arguments, DCLOUD_TOKEN=token, **more)


def done(result: subprocess.CompletedProcess[str], code: int = 0) -> str:
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout


def test_accounts_from_the_command(root: Run, dcloud: Run, parts: Services) -> None:
    assert "dcloud tokens create --user eve" in done(root("users", "add", "eve"))
    done(root("users", "add", "mia", "--admin", "--password", stdin=f"{PASSWORD}\n"))
    assert parts.accounts.check_password("mia", PASSWORD)
    assert "admin" in done(root("users", "role", "eve", "admin"))
    assert "disabled" in done(root("users", "disable", "eve"))
    listed = {user["name"]: user for user in json.loads(done(root("users", "--json")))}
    assert (listed["eve"]["disabled"], listed["eve"]["role"]) == (True, "admin")
    assert "eve\tadmin\tno" in done(root("users"))
    done(root("users", "enable", "eve"))
    assert "Another admin" in root("users", "disable", "root").stderr
    done(dcloud("users"), 4)
    done(root("users", "add", "E!"), 2)
    done(root("users", "role", "nobody", "user"), 3)


def test_a_password_from_the_command(root: Run, dcloud: Run, parts: Services) -> None:
    dcloud("whoami")
    done(dcloud("users", "password", stdin=f"{PASSWORD}\n"))
    done(dcloud("users", "password", stdin=f"wrong\n{PASSWORD} 2\n"), 4)
    done(dcloud("users", "password", stdin=f"{PASSWORD}\n{PASSWORD} 2\n"))
    assert parts.accounts.check_password("ada", f"{PASSWORD} 2")
    done(root("users", "password", "ada", stdin=f"{PASSWORD}\n"))
    assert parts.accounts.check_password("ada", PASSWORD)
    assert "few words" in dcloud("users", "password", stdin=f"{PASSWORD}\nshort\n").stderr


def test_tokens_from_the_command(dcloud: Run, root: Run) -> None:
    token = done(dcloud("tokens", "create", "ci", "--scope", "read", "--lifetime", "90d", "--kind", "service")).strip()
    assert token.startswith("dc_s_")
    assert done(dcloud("whoami", DCLOUD_TOKEN=token)) == "ada  user\n"
    [made] = [t for t in json.loads(done(dcloud("tokens", "--json"))) if t["name"] == "ci"]
    assert made["scopes"] == ["read"]
    assert f"{made['id']}\tci\tservice\tread" in done(dcloud("tokens"))
    new = done(dcloud("tokens", "rotate", made["id"], "--overlap", "1h")).strip()
    assert done(dcloud("whoami", DCLOUD_TOKEN=new)) == "ada  user\n"
    done(dcloud("tokens", "revoke", made["id"]))
    done(dcloud("whoami", DCLOUD_TOKEN=token), 4)
    assert done(root("tokens", "create", "--user", "ada")).startswith("dc_u_")
    done(dcloud("tokens", "create", "--scope", "admin", DCLOUD_TOKEN=new), 4)


def test_quotas_from_the_command(dcloud: Run, root: Run) -> None:
    dcloud("whoami")
    assert "gpus\t0\tnone" in done(dcloud("quota"))
    done(root("quota", "set", "--default", "--environments", "5"))
    done(root("quota", "set", "ada", "--cpu", "2.5", "--ram", "8GiB"))
    assert "gpus\t0\t1" in done(root("quota", "set", "ada", "--gpus", "1"))
    limits = json.loads(done(dcloud("quota", "--json")))["limits"]
    assert limits == {"environments": 5, "cpu_milli": 2500, "ram_mib": 8192, "gpus": 1, "storage_mib": None}
    assert "cpu\t0\tnone" in done(root("quota", "set", "ada", "--cpu", "none"))
    assert "environments\t\t5" in done(root("quota", "show", "--default"))
    assert "environments\t0\t5" in done(root("quota", "clear", "ada"))
    for wrong in (("set", "ada"), ("set", "ada", "--default", "--gpus", "1"), ("show",), ("set", "ada", "--gpus", "x")):
        done(root("quota", *wrong), 2)
    done(dcloud("quota", "set", "ada", "--gpus", "100"), 4)


def test_hosts_from_the_command(dcloud: Run, root: Run, host: SimulatedHost) -> None:
    assert done(root("hosts", "drain", "sim")) == "sim  draining\n"
    assert "sim\tdraining" in done(dcloud("hosts"))
    assert done(root("hosts", "undrain", "sim")) == "sim  ready\n"
    done(root("hosts", "forget", "sim"), 2)
    done(root("hosts", "forget", "sim", "--force"), 2)
    done(dcloud("hosts", "drain", "sim"), 4)
    done(root("hosts", "drain", "nobody"), 3)
    assert "root\thosts.drain\tsim\t200" in done(root("audit", "--action", "hosts.drain", "--user", "root"))


# signing in


@pytest.fixture
def stranger(environ: dict[str, str], tmp_path: Path) -> Run:
    """`dcloud` of somebody without a token."""
    env = {name: value for name, value in environ.items() if name != "DCLOUD_TOKEN"}
    env["DCLOUD_VAR_DIR"] = str(tmp_path / "nothing")

    def run(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        command = [DCLOUD, *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=env | more, timeout=60, check=False
        )

    return run


def test_signing_in_and_out_with_a_password(stranger: Run, root: Run, tmp_path: Path, parts: Services) -> None:
    kept = tmp_path / ".config" / "dcloud" / "token"
    assert "dcloud login" in stranger("whoami").stderr
    done(root("users", "add", "eve", "--password", stdin=f"{PASSWORD}\n"))
    done(stranger("login", "--name", "eve", stdin="wrong\n"), 4)
    assert not kept.exists()
    assert "You are eve (user)" in done(stranger("login", "--name", "eve", stdin=f"{PASSWORD}\n"))
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text().startswith("dc_c_")
    assert done(stranger("whoami")) == "eve  user\n"
    done(stranger("logout"))
    assert not kept.exists()
    assert parts.accounts.tokens("eve") == []
    done(stranger("logout"), 2)


def test_a_token_is_kept(stranger: Run, token_of: Callable[..., str]) -> None:
    done(stranger("login", "--with-token", stdin="dc_u_x\n"), 4)
    assert "You are mia" in done(stranger("login", "--with-token", stdin=token_of("mia") + "\n"))
    assert done(stranger("whoami")) == "mia  user\n"


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with OpenIdProvider().serving() as found:
        yield found


def test_signing_in_at_a_provider(
    stranger: Run, provider: OpenIdProvider, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"ISSUER": provider.issuer, "CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET}
    for name, value in settings.items():
        monkeypatch.setenv(f"DCLOUD_OIDC_{name}", value)
    provider.interval = 0.2
    provider.person["preferred_username"] = "grace"
    begun = provider._begun

    def confirmed() -> dict[str, Any]:
        found = begun()
        provider.confirm(found["user_code"])
        return found

    monkeypatch.setattr(provider, "_begun", confirmed)
    with serving(redis_url, free_port(), tmp_path / "api.log") as server:
        result = stranger("login", DCLOUD_API_URL=server.url)
        assert "You are grace (user)" in done(result)
        assert f"{provider.issuer}/activate" in result.stderr
        assert done(stranger("whoami", DCLOUD_API_URL=server.url)) == "grace  user\n"
