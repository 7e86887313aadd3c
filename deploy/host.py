"""Commands on the machine itself: run as they are, run as root, and the packages of the distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deploy.steps import SetupError

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # not on everyone's PATH, and where the programs that we need lie


def program(name: str) -> str | None:
    """Where a program lies, if it is installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{SBIN}")


def as_root() -> list[str] | None:
    """What a command begins with to run as root: nothing for root, `sudo` where it asks nothing, else None."""
    if os.geteuid() == 0:
        return []
    if program("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        return ["sudo", "-n", "-E"]
    return None


def run(command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command to its end with its output in `log`; SetupError where it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"$ {' '.join(command)}\n".encode())
        output.flush()
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=env, check=False
            )
        except OSError as error:
            raise SetupError(f"`{command[0]}` cannot be run: {error.strerror}.", log) from error
    if done.returncode:
        raise SetupError(f"`{' '.join(command[:4])} …` failed with exit status {done.returncode}.", log)


def packages_for(wanted: Mapping[str, str]) -> list[str]:
    """The packages to install so that all of `wanted` is there: a program or a file's path, and its package."""
    return sorted({package for name, package in wanted.items() if not _is_there(name)})


def _is_there(name: str) -> bool:
    return Path(name).exists() if name.startswith("/") else program(name) is not None


def install(packages: Iterable[str], log: Path) -> None:
    """Install packages of the distribution; SetupError where this user may not, or there is no apt."""
    names = list(packages)
    if not names:
        return
    root = as_root()
    if root is None or program("apt-get") is None:
        why = "which this user may not do" if root is None else "and this machine has no apt-get"
        command = f"sudo apt-get install {' '.join(names)}"
        raise SetupError(f"{', '.join(names)} must be installed, {why}. Do it (`{command}`), or run this as root.")
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300", "-q"]
    run([*apt, "update"], log)
    run([*apt, "install", "-y", "--no-install-recommends", *names], log)


def output(command: Sequence[str]) -> str:
    """What a command prints, without the white space around it; empty where it fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
