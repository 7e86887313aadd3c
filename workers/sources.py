"""Where packages come from, as this machine is configured: indexes, wheel directories, proxies, CA bundle.

Read from our settings, `UV_*`, `PIP_*` and pip's configuration files, in this order, and handed to the
builders in uv's own variables and to environments in pip's and uv's. Addresses that carry a password
go to the builders only.
"""

from __future__ import annotations

import configparser
import ipaddress
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from common.settings import Settings

BUILD = "BUILD"  # stands for the name of a build in the address of torch's indexes
CA_FILE = "/etc/dcloud/ca-certificates.crt"  # where containers see the machine's CA bundle

_CA = ("SSL_CERT_FILE", "UV_CERT", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_UV_AS_IS = (
    "UV_INDEX_STRATEGY",
    "UV_SYSTEM_CERTS",
    "UV_NATIVE_TLS",
    "UV_HTTP_TIMEOUT",
    "UV_EXCLUDE_NEWER",
    "UV_NO_INDEX",
)
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080, "socks4": 1080}


@dataclass(frozen=True)
class Sources:
    """What a container needs in order to reach the packages as the machine itself does."""

    builder_env: dict[str, str]
    user_env: dict[str, str]
    mounts: tuple[tuple[str, str], ...]  # (path on the host, path in the container), all read-only
    endpoints: tuple[tuple[str, int], ...]  # (host name or address, port) that must stay reachable
    on_loopback: bool  # an index or proxy listens on this machine's loopback: builders share its network

    @property
    def index(self) -> str:
        """What decides which versions can be found, for the key of a resolution."""
        names = ("UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", *_UV_AS_IS)
        return "\n".join(f"{name}={self.builder_env.get(name, '')}" for name in names)


def sources(settings: Settings, env: Mapping[str, str] = os.environ) -> Sources:
    """The machine's configuration."""
    pip = _pip_options(env)
    index = settings.index_url or env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL") or pip.get("index-url", "")
    index = _unnamed(index)
    extra = [_unnamed(text) for text in f"{env.get('UV_INDEX', '')} {env.get('UV_EXTRA_INDEX_URL', '')}".split()]
    links = env.get("UV_FIND_LINKS", "").replace(",", " ").split()
    as_is = {name: env[name] for name in _UV_AS_IS if env.get(name)}
    if not extra and pip.get("extra-index-url"):
        extra = pip["extra-index-url"].split()
        # pip looks at all indexes alike; a configuration written for pip means that
        as_is.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    links = links or pip.get("find-links", "").split()
    insecure = (env.get("UV_INSECURE_HOST") or pip.get("trusted-host", "")).split()
    proxies = {name: value for name in _PROXIES if (value := env.get(name.lower()) or env.get(name))}

    builds = settings.torch_index.partition(BUILD)[0]
    mounts = [(path, path) for path in _directories([index, *extra, *links, builds])]
    ca = next((env[name] for name in _CA if Path(env.get(name) or "/nowhere").is_file()), pip.get("cert", ""))
    ca_env: dict[str, str] = {}
    if ca and Path(ca).is_file():
        mounts.append((str(Path(ca).resolve()), CA_FILE))
        ca_env = dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), CA_FILE)

    theirs = "" if settings.torch_index == Settings.torch_index else builds  # the publisher's needs no opening
    asked = (value for name, value in proxies.items() if name != "NO_PROXY")
    addresses = [index, *extra, *links, theirs, *(text if "://" in text else f"http://{text}" for text in asked)]
    endpoints = tuple(dict.fromkeys(e for a in addresses if (e := _endpoint(a))))
    common = {**_both_cases(proxies), **ca_env}
    return Sources(
        builder_env={**_uv(index, extra, links, insecure), **as_is, **common},
        user_env={
            **_both_cases({k: v for k, v in proxies.items() if not _secret(v)}),
            **ca_env,
            **_user("" if _secret(index) else index, _open(extra), _open(links), insecure, as_is),
        },
        mounts=tuple(dict.fromkeys(mounts)),
        endpoints=endpoints,
        on_loopback=any(_is_loopback(host) for host, _port in endpoints),
    )


def _uv(index: str, extra: list[str], links: list[str], insecure: list[str]) -> dict[str, str]:
    values = {
        "UV_DEFAULT_INDEX": index,
        "UV_EXTRA_INDEX_URL": " ".join(extra),
        "UV_FIND_LINKS": ",".join(links),
        "UV_INSECURE_HOST": " ".join(insecure),
    }
    return {name: value for name, value in values.items() if value}


def _user(index: str, extra: list[str], links: list[str], insecure: list[str], as_is: dict[str, str]) -> dict[str, str]:
    pip = {
        "PIP_INDEX_URL": index,
        "PIP_EXTRA_INDEX_URL": " ".join(extra),
        "PIP_FIND_LINKS": " ".join(links),
        "PIP_TRUSTED_HOST": " ".join(insecure),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return {**{name: value for name, value in pip.items() if value}, **_uv(index, extra, links, insecure), **as_is}


def _pip_options(env: Mapping[str, str]) -> dict[str, str]:
    """pip's options by their long names, from its files and then its variables."""
    home = Path(env.get("HOME", "/root"))
    files = [
        *(Path(d) / "pip" / "pip.conf" for d in env.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")),
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        Path(env.get("XDG_CONFIG_HOME", str(home / ".config"))) / "pip" / "pip.conf",
        Path(sys.prefix) / "pip.conf",
    ]
    if env.get("PIP_CONFIG_FILE"):
        files = [] if env["PIP_CONFIG_FILE"] == os.devnull else [*files, Path(env["PIP_CONFIG_FILE"])]
    options: dict[str, str] = {}
    for file in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                options.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    for name in ("index-url", "extra-index-url", "find-links", "trusted-host", "cert"):
        value = env.get(f"PIP_{name.upper().replace('-', '_')}")
        if value:
            options[name] = value
    return options


def _directories(addresses: list[str]) -> Iterator[str]:
    """Directories on this machine that indexes and wheel lists name."""
    for address in addresses:
        path = Path(unquote(urlsplit(address).path) if address.startswith("file:") else address)
        if path.is_absolute() and path.is_dir():
            # the pages of a directory that is laid out as an index link to files beside it
            whole = path.parent if path.name == "simple" else path
            if whole != Path("/"):
                yield str(whole)


def _endpoint(address: str) -> tuple[str, int] | None:
    parts = urlsplit(address if "://" in address else "")
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.hostname, parts.port or _PORTS[parts.scheme]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _open(addresses: list[str]) -> list[str]:
    return [address for address in addresses if not _secret(address)]


def _secret(address: str) -> bool:
    """Whether a password may be in it. A proxy may lack its scheme."""
    return "@" in re.split(r"[/?#]", address.partition("://")[2] or address, maxsplit=1)[0]


def _unnamed(address: str) -> str:
    """uv may have a name for an index before its address, NAME=ADDRESS; pip knows none."""
    return re.sub(r"^[\w.-]+=", "", address)


def _both_cases(values: dict[str, str]) -> dict[str, str]:
    """Proxies are read in lower case by some programs and in upper case by others."""
    return {name: value for key, value in values.items() for name in (key, key.lower())}
