"""A root file system from a distribution's package mirror, as this machine's own apt reaches it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import ProvisionError
from common.settings import Settings
from common.states import Reason
from workers.recipes import Recipe, titled

HOOKS = Path("/usr/share/mmdebstrap/hooks/maybe-merged-usr")
TARGETS = "$(CREATED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT)"
EXACT = "APT::Cmd::Pattern-Only=true"  # else a name of no package is an expression, and `g.p` hundreds of packages
USUAL_PACKAGES = 95  # before apt has said how many there are

# Options of the machine's apt that a fresh root needs as well in order to reach the mirror.
_APT_OPTIONS = re.compile(
    r"^(Acquire::(?:(?:http|https|ftp)::(?:Proxy(?:::[^ ]+)?|CAInfo|CAPath|Verify-Peer|Verify-Host|Timeout)"
    r'|Check-Valid-Until|Check-Date|Retries)) "([^"]+)";$'
)
# a package that is fetched has its name, architecture and version; an index has not
_STEP = re.compile(r"^(Get):\d+ \S+ \S+ \S+ \S+ \S+ \S+ \[|^(Unpacking|Setting up) \S+")
_WORDS = {"Get": "Downloading", "Unpacking": "Unpacking", "Setting up": "Setting up"}
_COUNT = re.compile(r"(\d+) newly installed")

Progress = Callable[[float, str], None]


@dataclass
class _Steps:
    """Packages fetched, unpacked and set up, of those that there will be."""

    announced: int = 0
    done: Counter[str] = field(default_factory=Counter)  # by step
    fraction: float = 0.0
    tail: list[str] = field(default_factory=list)

    def read(self, line: str) -> str | None:
        """Take a line; what it says of the progress, None where it says nothing."""
        self.tail = [*self.tail[-29:], line]
        if count := _COUNT.search(line):
            self.announced += int(count[1])
        if found := _STEP.match(line):
            step = found[1] or found[2]
            self.done[step] += 1
            # apt says how many there are twice, so the whole grows on the way; the bar does not go back
            expected = 3 * max(self.announced, USUAL_PACKAGES)
            self.fraction = max(self.fraction, min(1.0, self.done.total() / expected))
            return f"{_WORDS[step]} packages: {self.done[step]} of {max(self.announced, self.done[step])}"
        return line[3:] if line.startswith("I: ") else None


def build(
    recipe: Recipe,
    kin: Collection[str],
    scratch: Path,
    archive: Path,
    settings: Settings,
    progress: Progress,
    log: Callable[[str], None],
) -> None:
    """Write the root file system of `recipe` to `archive`, a tar file. Raises ProvisionError.

    `kin` are the suites that one mirror has together.
    What `progress` or `log` raise ends the work. All that may be left then is files in `scratch`.
    """
    tool = shutil.which("mmdebstrap")
    if tool is None:
        raise ProvisionError(
            Reason.IMAGE_UNAVAILABLE,
            f"{recipe.title} must be made here, as no registry answers, but mmdebstrap is missing. "
            "Its operator can install it: apt-get install mmdebstrap",
        )
    packages = ",".join(recipe.system_packages)
    # It mounts what a root needs, and has children of many kinds. In name spaces of its own the mounts and
    # the children go with the process, whatever ends it.
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", tool]
    command += ["--verbose", "--variant=essential", "--format=tar", f"--include={packages}"]
    if HOOKS.is_dir():
        command.append(f"--hook-dir={HOOKS}")
    exact = EXACT.replace("=", " ")
    command += [f"--aptopt={option}" for option in (exact, *_apt_options())]
    command += [recipe.suite, str(archive), *_mirrors(recipe, kin, settings)]
    steps = _Steps()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C", "TMPDIR": str(scratch)},
    )
    try:
        for line in process.stdout or ():
            said = steps.read(line.rstrip())
            if said:
                log(line.rstrip())
                progress(steps.fraction, said)
        if process.wait() != 0:
            raise _failed(recipe, steps.tail)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def missing_packages(recipe: Recipe, text: str) -> ProvisionError | None:
    """What apt says of packages that do not exist, as an error for the user; None where it says nothing of the kind."""
    missing = re.findall(r"E: (?:Unable to locate package|Package) '?([a-z0-9][a-z0-9+.-]*)", text)
    if not missing:
        return None
    return ProvisionError(
        Reason.IMAGE_UNAVAILABLE,
        f"{titled(recipe.os)} {recipe.version} has no package {', '.join(sorted(set(missing)))}. Change os.packages.",
        text,
    )


def _failed(recipe: Recipe, tail: list[str]) -> ProvisionError:
    text = "\n".join(tail)
    return missing_packages(recipe, text) or ProvisionError(
        Reason.IMAGE_UNAVAILABLE,
        f"{recipe.title} could not be made from the package mirror. The build log says why; "
        "its operator can set DCLOUD_APT_MIRROR.",
        text,
    )


def _mirrors(recipe: Recipe, kin: Collection[str], settings: Settings) -> list[str]:
    """apt source lines for the suite; none means the tool's own default."""
    if settings.apt_mirror:
        return [f"deb {settings.apt_mirror} {recipe.suite} main"]
    return mirror_lines(recipe.suite, kin, _said(["apt-get", "indextargets", "--format", TARGETS]))


def mirror_lines(suite: str, kin: Collection[str], targets: str) -> list[str]:
    """Source lines for `suite` from the repositories that the machine's apt knows for any of its `kin`.

    `targets` has a line for each index: who wants it, repository, release, component.
    """
    uris: dict[str, str] = {}
    for line in targets.splitlines():
        words = line.split(" ")
        if len(words) != 4 or words[0] != "Packages" or words[3] != "main":
            continue
        name, _, pocket = words[2].replace("/", "-").partition("-")
        if name in kin:
            uris.setdefault(pocket, words[1])
    if "" not in uris:
        return []
    lines = [f"deb {uris['']} {suite} main"]
    if "updates" in uris:
        lines.append(f"deb {uris['updates']} {suite}-updates main")
    if "security" in uris:
        lines.append(f"deb {uris['security']} {suite}-security main")
    return lines


def _apt_options() -> list[str]:
    dump = _said(["apt-config", "dump", "Acquire"])
    matches = (_APT_OPTIONS.match(line) for line in dump.splitlines())
    return [f'{match[1]} "{match[2]}"' for match in matches if match]


def _said(command: list[str]) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
