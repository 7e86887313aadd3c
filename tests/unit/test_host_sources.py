"""What the machine's configuration becomes for builders and for environments."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.settings import Settings
from workers.sources import CA_FILE, sources

SETTINGS = Settings(redis_url="redis://x")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment whose files are all empty or missing."""
    return {"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}


def test_nothing_configured(env: dict[str, str]) -> None:
    found = sources(SETTINGS, env)
    assert found.builder_env == {}
    assert found.user_env == {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    assert (found.mounts, found.endpoints, found.on_loopback) == ((), (), False)


def test_pips_configuration_reaches_uv_and_is_understood_as_pip_does(env: dict[str, str], tmp_path: Path) -> None:
    index = tmp_path / "index" / "simple"
    index.mkdir(parents=True)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nextra-index-url = file://{index}\n  https://more.lab/simple\nfind_links = {wheels}\n")
    found = sources(SETTINGS, {**env, "PIP_CONFIG_FILE": str(config), "PIP_INDEX_URL": "https://index.lab:8443/simple"})
    assert found.builder_env["UV_DEFAULT_INDEX"] == "https://index.lab:8443/simple"
    assert found.builder_env["UV_EXTRA_INDEX_URL"] == f"file://{index} https://more.lab/simple"
    assert found.builder_env["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert found.builder_env["UV_FIND_LINKS"] == str(wheels)
    assert found.user_env["PIP_FIND_LINKS"] == str(wheels)
    # an index in a directory links to files beside it
    assert found.mounts[:2] == ((str(index.parent), str(index.parent)), (str(wheels), str(wheels)))
    assert found.endpoints == (("index.lab", 8443), ("more.lab", 443))


def test_uv_comes_before_pip_and_our_setting_before_both(env: dict[str, str]) -> None:
    both = {**env, "UV_DEFAULT_INDEX": "https://uv.lab/simple", "PIP_INDEX_URL": "https://pip.lab/simple"}
    assert sources(SETTINGS, both).builder_env["UV_DEFAULT_INDEX"] == "https://uv.lab/simple"
    ours = Settings(redis_url="redis://x", index_url="https://ours.lab/simple")
    assert sources(ours, both).builder_env["UV_DEFAULT_INDEX"] == "https://ours.lab/simple"


def test_passwords_go_to_builders_only(env: dict[str, str]) -> None:
    secret = {
        **env,
        "PIP_INDEX_URL": "https://me:secret@index.lab/simple",
        "PIP_EXTRA_INDEX_URL": "https://me:secret@more.lab/simple https://open.lab/simple",
        "HTTPS_PROXY": "http://me:secret@proxy.lab:3128",
    }
    found = sources(SETTINGS, secret)
    assert "secret" in found.builder_env["UV_DEFAULT_INDEX"]
    assert "secret" in found.builder_env["https_proxy"]
    assert "secret" not in str(found.user_env)
    assert found.user_env["PIP_EXTRA_INDEX_URL"] == "https://open.lab/simple"
    assert ("proxy.lab", 3128) in found.endpoints


@pytest.mark.parametrize(
    "secret",
    [
        {"PIP_FIND_LINKS": "https://me:secret@wheels.lab/all"},
        {"UV_FIND_LINKS": "https://me:secret@wheels.lab/all,https://open.lab/all"},
        {"UV_INDEX": "mine=https://me:secret@index.lab/simple"},
        {"UV_DEFAULT_INDEX": "mine=https://me:secret@index.lab/simple"},
        {"https_proxy": "me:secret@proxy.lab:3128"},
    ],
)
def test_passwords_in_whatever_form(env: dict[str, str], secret: dict[str, str]) -> None:
    found = sources(SETTINGS, {**env, **secret})
    assert "secret" in str(found.builder_env)
    assert "secret" not in str(found.user_env)


@pytest.mark.parametrize(
    ("name", "value", "endpoint"),
    [
        ("https_proxy", "proxy.lab:3128", ("proxy.lab", 3128)),
        ("ALL_PROXY", "socks5://proxy.lab:1080", ("proxy.lab", 1080)),
        ("UV_INDEX", "mine=https://index.lab/simple", ("index.lab", 443)),
    ],
)
def test_what_is_configured_stays_reachable(env: dict[str, str], name: str, value: str, endpoint: object) -> None:
    found = sources(SETTINGS, {**env, name: value})
    assert endpoint in found.endpoints
    assert "mine=" not in str(found.user_env)  # pip knows no such names


def test_the_ca_bundle_is_mounted_and_named_to_everyone(env: dict[str, str], tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("certificates")
    found = sources(SETTINGS, {**env, "REQUESTS_CA_BUNDLE": str(bundle), "SSL_CERT_FILE": "/no/such/file"})
    assert (str(bundle), CA_FILE) in found.mounts
    for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"):
        assert found.builder_env[name] == found.user_env[name] == CA_FILE


@pytest.mark.parametrize(
    ("address", "on_loopback"),
    [("http://127.0.0.1:3141/root", True), ("http://localhost/simple", True), ("http://10.0.0.1/simple", False)],
)
def test_an_index_on_loopback_is_noticed(env: dict[str, str], address: str, on_loopback: bool) -> None:
    assert sources(SETTINGS, {**env, "PIP_INDEX_URL": address}).on_loopback is on_loopback


def test_proxies_in_both_cases(env: dict[str, str]) -> None:
    found = sources(SETTINGS, {**env, "http_proxy": "http://proxy.lab:3128", "NO_PROXY": "lab"})
    assert found.builder_env["HTTP_PROXY"] == found.builder_env["http_proxy"] == "http://proxy.lab:3128"
    assert found.user_env["no_proxy"] == "lab"


def test_the_root_directory_is_never_mounted(env: dict[str, str]) -> None:
    assert sources(SETTINGS, {**env, "PIP_FIND_LINKS": "/"}).mounts == ()
