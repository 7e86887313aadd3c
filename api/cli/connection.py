"""Where the server is, who calls, and which environment is meant."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import api
from api.client import ApiError, Client
from common import ids, saved
from common.errors import DCloudError

_SHOWN = 5


def connect() -> Client:
    """A client of the server, with the token, that is found first. Raises DCloudError."""
    return Client(address(), _token())


def address() -> str:
    """Where the server is. Raises DCloudError."""
    for url, source in (
        (_url(os.environ), "DCLOUD_API_URL"),
        (_text_of(server_file()), str(server_file())),
        (_url(_saved()), str(_var() / saved.FILE)),
    ):
        if url and not url.startswith(("http://", "https://")):
            raise DCloudError(f"The address in {source} is {url!r}; it begins with http:// or https://.")
        if url:
            return url
    return "http://127.0.0.1:8000"


def token_file() -> Path:
    """Where `dcloud login` keeps its token."""
    return _config() / "token"


def server_file() -> Path:
    """Where `dcloud login` keeps the address of the server that the token is for."""
    return _config() / "server"


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
    token = os.environ.get("DCLOUD_TOKEN", "").strip() or _text_of(token_file()) or _text_of(_var() / "admin.token")
    if not token:
        raise DCloudError("There is no token. `dcloud login` gets one; or set DCLOUD_TOKEN.")
    return token


def _url(variables: Mapping[str, str]) -> str:
    """The address that these say, "" where they say none."""
    bind = variables.get("DCLOUD_API_BIND", "")
    return variables.get("DCLOUD_API_URL", "") or (f"http://{bind}" if bind else "")


def _saved() -> dict[str, str]:
    """What the installation here was started with; nothing where that is another user's."""
    try:
        return saved.saved(_var())
    except OSError:
        return {}


def _var() -> Path:
    """Where the installation here keeps its state."""
    return Path(os.environ.get("DCLOUD_VAR_DIR", "") or Path(api.__file__).resolve().parent.parent / "var")


def _config() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME", "") or Path.home() / ".config") / "dcloud"


def _text_of(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
