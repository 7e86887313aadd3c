"""The command `dcloud`.

Exit codes: 0 done · 1 the environment failed, or a check of `doctor` did · 2 wrong usage or refused
input · 3 not found · 4 not allowed · 5 the server cannot be reached. `exec` ends with its command's own code.
"""

from __future__ import annotations

import sys

import click

from api.cli import (
    audit,
    catalog,
    check,
    completion,
    doctor,
    environments,
    execute,
    hosts,
    imports,
    login,
    logs,
    output,
    quota,
    submit,
    templates,
    tokens,
    top,
    users,
    webhooks,
)
from api.cli.exits import code_of
from common.errors import DCloudError

WHERE = """\b
Server, the first of: DCLOUD_API_URL; DCLOUD_API_BIND; where `dcloud login` was;
  what `make run` of this checkout was started with; http://127.0.0.1:8000.
Token, the first of: DCLOUD_TOKEN; that of `dcloud login`; the admin's of this checkout.
Exit codes: see docs/cli.md."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=WHERE)
@click.version_option(package_name="dcloud")
def cli() -> None:
    """Environments from contracts: submit one, watch it start, work inside."""


for _command in (
    submit.submit,
    check.check,
    imports.import_,
    environments.ls,
    environments.show,
    check.explain,
    logs.logs,
    logs.lock,
    execute.execute,
    environments.stop,
    environments.start,
    environments.grow,
    environments.rm,
    hosts.hosts,
    catalog.catalog,
    templates.templates,
    webhooks.webhooks,
    top.top,
    login.login,
    login.logout,
    login.whoami,
    tokens.tokens,
    quota.quota,
    users.users,
    audit.audit,
    doctor.doctor,
    completion.completion,
):
    cli.add_command(_command)


def main() -> None:
    """The entry point: every error is a sentence and an exit code."""
    try:
        cli()
    except DCloudError as error:
        output.refusal(str(error), getattr(error, "problems", ()))
        sys.exit(code_of(error))
