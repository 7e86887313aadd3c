"""The usual way: an image with the libraries, made by `docker build` and pip, and a container of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from docker.errors import NotFound

from bench.pairs import seconds
from bench.site import Site

TAG = "dcloud-bench-built"
CONTEXT = "/opt/bench"  # where a build has what came with its Dockerfile
TEXT = """\
FROM {base}
USER root
COPY . {context}/
{settings}
RUN python3 {context}/pip.whl/pip install --break-system-packages --no-cache-dir --root-user-action=ignore {libraries}
USER 1000
"""


class Dockerfile:
    """A Dockerfile for libraries, above the base image that our environments have."""

    def __init__(self, site: Site, libraries: tuple[str, ...]):
        self.site = site
        self.libraries = libraries
        self.context = Path(tempfile.mkdtemp())

    def __enter__(self) -> Dockerfile:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(self.context), "pip"]
        subprocess.run(command, check=True, capture_output=True)
        next(self.context.glob("pip-*.whl")).rename(self.context / "pip.whl")
        base, mounts = self.site.base_tag(), dict(self.site.host.sources.mounts)
        for number, source in enumerate(mounts):  # a build sees nothing of the machine: wheels and CA go with it
            where, path = self.context / f"mount-{number}", Path(source)
            if path.is_file():
                shutil.copy(path, where)
            elif any(file.name.startswith(self.libraries) for file in path.iterdir()):
                shutil.copytree(path, where)
        settings = "\n".join(
            f'ENV {name}="{self._inside(value, mounts)}"' for name, value in self.site.host.sources.user_env.items()
        )
        text = TEXT.format(context=CONTEXT, base=base, settings=settings, libraries=" ".join(self.libraries))
        (self.context / "Dockerfile").write_text(text)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(NotFound):
            self.site.api.remove_image(TAG, force=True)
        shutil.rmtree(self.context)

    def build_and_start(self) -> float:
        """Seconds for a build without its cache, and the container."""
        made: list[str] = []

        def act() -> None:
            for said in self.site.api.build(
                path=str(self.context), tag=TAG, nocache=True, rm=True, decode=True, network_mode="host"
            ):
                if "error" in said:
                    raise RuntimeError(str(said["error"]))
            config = self.site.api.create_host_config(network_mode=self.site.host.network.ready())
            made.append(str(self.site.api.create_container(TAG, ["sleep", "60"], host_config=config)["Id"]))
            self.site.api.start(made[0])

        taken = seconds(act)
        self.site.api.remove_container(made[0], force=True)
        self.site.api.remove_image(TAG, force=True)
        return taken

    def _inside(self, value: str, mounts: dict[str, str]) -> str:
        for number, (source, target) in enumerate(mounts.items()):
            for path in (target, source):
                value = value.replace(path, f"{CONTEXT}/mount-{number}")
        return value
