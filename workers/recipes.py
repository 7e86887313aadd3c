"""The recipe of a base image: what decides its content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

REVISION = 3  # raised when the way that base images are made changes what is in them
# What people and libraries expect beside Python; wheels for Linux count on the C++ and OpenMP runtimes.
PACKAGES = ("ca-certificates", "less", "libgomp1", "libstdc++6", "procps", "tzdata")


@dataclass(frozen=True)
class Recipe:
    """A base image: an operating system with a Python and packages. What is not to be had is ""."""

    os: str
    version: str
    python: str  # as asked for, "3.11" or "3.11.2"
    own_python: bool  # it is that of the system's own packages
    suite: str = ""  # at the package mirror
    image: str = ""  # what a registry calls the system
    runtime: str = ""  # what a registry calls the system with this Python
    needs: tuple[str, ...] = ()  # packages of the distribution that its Python needs
    packages: tuple[str, ...] = ()  # packages that the contract asks for
    revision: int = REVISION

    @property
    def key(self) -> str:
        """The same for the same content."""
        content = json.dumps([asdict(self), PACKAGES], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def tag(self) -> str:
        """The image's name in the engine."""
        system = self.os.replace("/", "-")
        return f"dcloud-base:{system}-{self.version}-python-{self.python}-{self.key}"

    @property
    def title(self) -> str:
        """For people."""
        return f"{titled(self.os)} {self.version} with Python {self.python}"

    @property
    def system_packages(self) -> tuple[str, ...]:
        """All packages of the distribution that the image has to have."""
        own = ("python3", *self.needs) if self.own_python else ()
        return (*own, *PACKAGES, *self.packages)


def titled(os: str) -> str:
    """A system's name for people: `debian` is Debian, `nvidia/cuda` is itself."""
    return os if "/" in os else os.capitalize()
