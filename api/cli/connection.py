"""Where the server is, who calls, and which environment is meant."""

from __future__ import annotations

import os
from pathlib import Path

import api
from api.client import ApiError, Client
from common import ids
from common.errors import DCloudError

_SHOWN = 5


def connect() -> Client:
    """A client for DCLOUD_API_URL (else this machine's) with the token that is found first. Raises DCloudError."""
    return Client(address(), _token())


def address() -> str:
    """Where the server is. Raises DCloudError."""
    url = os.environ.get("DCLOUD_API_URL", "") or f"http://{os.environ.get('DCLOUD_API_BIND', '') or '127.0.0.1:8000'}"
    if not url.startswith(("http://", "https://")):
        raise DCloudError(f"DCLOUD_API_URL is {url!r}; it begins with http:// or https://.")
    return url


def token_file() -> Path:
    """Where `dcloud login` keeps its token."""
    home = Path(os.environ.get("XDG_CONFIG_HOME", "") or Path.home() / ".config")
    return home / "dcloud" / "token"


def resolve(client: Client, text: str) -> str:
    """The id of the environment that `text` names: an id, the beginning of just one, or a name that just one has.

    Raises ApiError (404) where there is none, DCloudError where there are several.
    """
    if ids.PATTERN.fullmatch(text):
        return text
    found = [e for e in client.environments() if e["id"].startswith(text) or e["name"] == text]
    alive = [e for e in found if e["state"] not in ("failed", "deleted", "deleting")]
    for some in (alive, [e for e in found if e["state"] == "failed"], found):
        if len(some) == 1:
            return str(some[0]["id"])
        if some:
            shown = ", ".join(f"{e['id']} ({e['name']}, {e['state']})" for e in some[:_SHOWN])
            raise DCloudError(f"{text!r} is not one environment but {len(some)}: {shown}. Use the id.")
    raise ApiError(404, f"There is no environment {text!r}. `dcloud ls --all` lists all.", [])


def _token() -> str:
    token = os.environ.get("DCLOUD_TOKEN", "").strip()
    if token:
        return token
    var = Path(os.environ.get("DCLOUD_VAR_DIR", "") or Path(api.__file__).resolve().parent.parent / "var")
    files = (token_file(), var / "admin.token")
    for file in files:
        try:
            if token := file.read_text().strip():
                return token
        except OSError:
            continue
    raise DCloudError("There is no token. `dcloud login` gets one; or set DCLOUD_TOKEN.")
