"""The DCloud of this checkout: where it keeps its state, and the settings that it was last started with."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.saved import FILE, saved
from common.settings import Settings
from deploy.processes import Processes
from deploy.steps import SetupError
from deploy.venv import ROOT


@dataclass(frozen=True)
class Installation:
    """Everything lies under `var`, which outlives `make stop`."""

    var: Path

    @classmethod
    def here(cls) -> Installation:
        """The one that `DCLOUD_VAR_DIR` names, else the one in `var/` of this checkout."""
        return cls(Path(os.environ.get("DCLOUD_VAR_DIR") or ROOT / "var").expanduser().resolve())

    @property
    def processes(self) -> Processes:
        return Processes(self.var)

    @property
    def setup_log(self) -> Path:
        return self.var / "log" / "setup.log"

    @property
    def token_file(self) -> Path:
        return self.var / "admin.token"

    @property
    def settings_file(self) -> Path:
        return self.var / FILE

    def saved(self) -> dict[str, str]:
        """The `DCLOUD_*` variables of the last start; empty before the first."""
        return saved(self.var)

    def save(self, variables: Mapping[str, str]) -> None:
        """Keep the variables for `make stop` and `dcloud doctor`. They hold Redis' password."""
        lines = ["# Settings of the last start, kept for the next. Set one in your environment to change it."]
        private_write(self.settings_file, "\n".join([*lines, *(f"{k}={v}" for k, v in sorted(variables.items())), ""]))

    def environment(self) -> dict[str, str]:
        """What a process of this installation gets: the caller's environment with the saved settings over it."""
        return {**os.environ, **self.saved()}

    def settings(self) -> Settings:
        """The saved settings, as every part reads them."""
        return Settings.from_env(self.environment())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a second `make run` or `make stop` out while this one works."""
        self.var.mkdir(parents=True, exist_ok=True)
        with (self.var / "setup.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SetupError("Another `make run` or `make stop` is under way here. Wait for its end.") from None
            yield


def private_write(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)
