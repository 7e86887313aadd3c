"""Getting a token for the command: by name and password, or at the OpenID provider by a code on another screen."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, Response, jsonify, request

from api import bodies, conditions, signing, tokens
from api.openapi.described import described
from api.problems import Refused
from api.provider import NotYet
from api.services import services
from common.fields import Strict
from common.plain_fields import Secret, Word

blueprint = Blueprint("login", __name__)

LIFETIME_SECONDS = 30 * 86400
POLL_SECONDS = 5


class PasswordLogin(Strict):
    """Body of `POST /login`."""

    DOCUMENT = "a login"

    name = Word("of the account", required=True)
    password = Secret("of the account", required=True)


class DeviceLogin(Strict):
    """Body of `POST /login/device/token`."""

    DOCUMENT = "a login"

    device = Secret("what `POST /login/device` gave", required=True)


@blueprint.get("/login")
@described("WaysIn", headers=("ETag",), also={304: "it did not change"})
def ways() -> Response:
    """The ways in that there are here."""
    return jsonify({"password": True, "device": services().provider is not None})


@blueprint.post("/login")
@described("NewTokenOnce", 201, body=PasswordLogin, headers=("ETag", "Location"), refuses=(401, 409, 429))
def by_password() -> Response:
    """A token of 30 days for whoever has this password."""
    wanted = bodies.load(PasswordLogin)
    caller = signing.by_password(wanted["name"], wanted["password"])
    if caller is None:
        raise Refused(401, signing.WRONG_PASSWORD)
    return _token(caller.user)


@blueprint.post("/login/device")
@described("DeviceCode", 201, refuses=(400, 404, 429))
def begin() -> Response:
    """Begin at the provider: a code to be confirmed on any screen."""
    provider = signing.provider()
    services().attempts.count(f"device at {request.remote_addr}", request.remote_addr or "")
    said = provider.begin_device()
    seconds, interval = float(said["expires_in"]), float(said.get("interval") or POLL_SECONDS)
    device = services().devices.begin(
        {"code": said["device_code"], "interval": interval, "until": time.time() + seconds, "next": 0}, seconds
    )
    shown = ("user_code", "verification_uri", "verification_uri_complete", "expires_in")
    body: dict[str, Any] = {"device": device, "interval": interval, **{name: said.get(name) for name in shown}}
    response = jsonify(body)
    response.status_code = 201
    return response


@blueprint.post("/login/device/token")
@described(
    "NewTokenOnce",
    201,
    body=DeviceLogin,
    headers=("ETag", "Location"),
    refuses=(403, 404, 409, 410, 429),
    also={202: "nobody has confirmed the code yet; ask again after `interval` seconds"},
)
def finish() -> Response:
    """202 as long as nobody has confirmed the code; then 201 with a token of 30 days, once."""
    provider, devices = signing.provider(), services().devices
    device = bodies.load(DeviceLogin)["device"]
    begun = devices.look(device)
    if begun is None:
        raise Refused(410, "This sign-in took too long, or is over. Begin again.")
    now = time.time()
    if now < begun["next"]:  # however often somebody asks here, the provider is asked as it wishes
        return _pending(begun)
    devices.keep(device, begun | {"next": now + begun["interval"]}, begun["until"] - now)
    try:
        person = provider.finish_device(begun["code"])
    except NotYet:
        return _pending(begun)
    except Refused as error:
        if error.status != 503:
            devices.take(device)
        raise
    if devices.take(device) is None:
        raise Refused(410, "This sign-in is over. Begin again.")
    services().attempts.forget(f"device at {request.remote_addr}", request.remote_addr or "")
    return _token(signing.of_person(person).user)


def _pending(begun: dict[str, Any]) -> Response:
    response = conditions.answer({"status": "pending", "interval": begun["interval"]}, 202)
    response.headers["Retry-After"] = str(int(begun["interval"]) or 1)
    return response


def _token(user: str) -> Response:
    accounts = services().accounts
    scopes = signing.whole(accounts.user(user).role)
    return tokens.shown_once(user, accounts.create_token(user, "dcloud login", scopes, LIFETIME_SECONDS, "command"))
