"""`dcloud login`, `logout` and `whoami`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from api.cli import output
from api.cli.connection import address, connect, server_file, token_file
from api.cli.users import ask
from api.client import Client, Json
from common.errors import DCloudError


@click.command()
@click.option("--with-password", is_flag=True, help="By name and password, where the server also knows another way.")
@click.option("--with-token", is_flag=True, help="Read a token from standard input and keep it.")
@click.option("--name", help="Name of the account, for a password.")
def login(with_password: bool, with_token: bool, name: str | None) -> None:
    """Get a token for this command, and keep it with the server's address in one's configuration."""
    server = address()
    if with_token:
        token = ask("Token")
    else:
        with Client(server, "") as client:
            device = client.ways_in()["device"] and not (with_password or name)
            token = (_by_device(client) if device else _by_password(client, name))["token"]
    with Client(server, token) as client:
        user = client.user()
    _keep(server_file(), server)
    _keep(token_file(), token)
    output.line(f"You are {user['name']} ({user['role']}) at {server}. The token is in {token_file()}.")
    if os.environ.get("DCLOUD_TOKEN"):
        output.note("DCLOUD_TOKEN is set and goes before it.")


@click.command()
def logout() -> None:
    """End the token that `dcloud login` keeps, and forget it."""
    try:
        token = token_file().read_text().strip()
    except OSError:
        raise DCloudError(f"There is no token in {token_file()}.") from None
    try:
        with Client(address(), token) as client:
            client.revoke_token(token.split("_")[2])
    finally:
        for file in (token_file(), server_file()):
            file.unlink(missing_ok=True)


@click.command()
@output.as_json
def whoami(json_: bool) -> None:
    """The account whose token this command uses."""
    user = connect().user()
    if json_:
        return output.document(user)
    return output.line(f"{user['name']}  {user['role']}")


def _by_password(client: Client, name: str | None) -> Json:
    if name is None and not sys.stdin.isatty():
        raise click.UsageError("Nobody is here to be asked. Add --name; the password is read from standard input.")
    return client.log_in(name or click.prompt("Name", err=True), ask("Password"))


def _by_device(client: Client) -> Json:
    begun = client.begin_device()
    output.note(f"Open {begun['verification_uri']} on any screen and confirm the code {begun['user_code']}")
    if begun.get("verification_uri_complete"):
        output.note(f"or open {begun['verification_uri_complete']} and compare the code.")
    until = time.monotonic() + begun["expires_in"]
    while time.monotonic() < until:
        time.sleep(begun["interval"])
        answer = client.finish_device(begun["device"])
        if "token" in answer:
            return answer
    raise DCloudError("Nobody confirmed the code in time. Begin again.")


def _keep(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text + "\n")
    new.replace(file)
