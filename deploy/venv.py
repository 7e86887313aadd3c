"""The virtual environment `.venv`, with exactly the versions that the locks pin."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common.settings import Settings
from deploy import host
from deploy.steps import SetupError
from workers.sources import sources

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PIP = (str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input")
RUN = ROOT / "deploy" / "requirements.txt"
DEVELOP = ROOT / "deploy" / "requirements-dev.txt"


def ensure(lock: Path, log: Path) -> str:
    """Make `.venv` hold what `lock` pins, and the project itself; says what was done. Does nothing the second time."""
    stamp = VENV / f".{lock.stem}.sha256"
    wanted = _digest(lock)
    if stamp.exists() and stamp.read_text() == wanted and _works():
        return "as pinned, was there already"
    if not _works():
        _create(log)
    try:
        _install(lock, log)
        host.run([*PIP, "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", str(ROOT)], log)
    except SetupError as error:
        raise SetupError(
            "The Python packages could not be installed. Check that pip reaches its index (PIP_INDEX_URL, "
            "HTTPS_PROXY, SSL_CERT_FILE), then run this again.",
            error.log,
        ) from error
    stamp.write_text(wanted)
    return f"{_count(lock)} packages, pinned by hash"


def _install(lock: Path, log: Path) -> None:
    """By uv, which takes a fraction of pip's time; by pip where this machine's index is only to be reached so."""
    with tempfile.TemporaryDirectory() as directory:
        only_uv = Path(directory) / "uv.txt"
        only_uv.write_text(_pinned("uv", lock))
        host.run([*PIP, "install", "--quiet", "--require-hashes", "-r", str(only_uv)], log)
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--no-cache", "--compile-bytecode", "--no-config"]
    own = sources(Settings(redis_url="")).builder_env
    env = {**os.environ, **{name: value for name, value in own.items() if name.startswith("UV_")}}
    try:
        host.run([*uv, "--python", str(PYTHON), "--require-hashes", "-r", str(lock)], log, env=env)
    except SetupError:
        host.run([*PIP, "install", "--quiet", "--require-hashes", "-r", str(lock)], log)


def _pinned(name: str, lock: Path) -> str:
    """The lines of one package in a lock."""
    lines = lock.read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
    end = next((n for n in range(begin + 1, len(lines)) if not lines[n].startswith(" ")), len(lines))
    return "\n".join([*lines[begin:end], ""])


def _digest(lock: Path) -> str:
    """Of everything that the content of the virtual environment depends on."""
    parts = lock.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), str(ROOT).encode()
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _count(lock: Path) -> int:
    return sum("==" in line and not line.startswith((" ", "#")) for line in lock.read_text().splitlines())


def _works() -> bool:
    """Whether the virtual environment's Python runs and has pip: the interpreter below it may have been replaced."""
    try:
        return subprocess.run([PYTHON, "-c", "import pip"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _create(log: Path) -> None:
    """Make an empty virtual environment; installs the distribution's venv module where it is split off."""
    if VENV.is_symlink() or VENV.is_file():
        raise SetupError(f"{VENV} is not a folder. Remove it, then run this again.")
    if VENV.exists():
        shutil.rmtree(VENV)
    if subprocess.run([sys.executable, "-c", "import ensurepip"], capture_output=True, check=False).returncode:
        major, minor = sys.version_info[:2]
        host.install([f"python{major}.{minor}-venv"], log)
    # A PYTHONHOME or PYTHONPATH of the caller's would leak into what is built here.
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONHOME", "PYTHONPATH"}}
    host.run([sys.executable, "-m", "venv", str(VENV)], log, env=clean)
