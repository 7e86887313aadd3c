"""`dcloud completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from common.errors import DCloudError

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """The script that completes commands in SHELL. bash: eval "$(dcloud completion bash)" in ~/.bashrc."""
    found = get_completion_class(shell)
    if found is None:
        raise DCloudError(f"There is no completion for {shell}.")
    click.echo(found(context.find_root().command, {}, "dcloud", "_DCLOUD_COMPLETE").source())
