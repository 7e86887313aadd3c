"""Base images: pulled where a registry answers, else made from the package mirror; one for each recipe.

Both ways end the same: in a short-lived container the user is added and the interpreter looked at, and
what it says is written into the labels of the image that is kept.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.contract import Contract
from common.errors import ProvisionError
from common.settings import Settings
from common.states import Reason
from workers import mirror
from workers.catalogue import Recipe, recipe_for
from workers.engine import Engine, EngineError
from workers.execution import Exec
from workers.filelocks import held
from workers.sources import Sources

BASE = "dcloud.base"  # label: the recipe's key
PYTHON = "dcloud.python"  # label: the interpreter's full version
INTERPRETER = "dcloud.interpreter"  # label: its path

ABSENT_SECONDS = 600  # a registry that did not answer is not asked again for so long
LAYERS = "/opt/dcloud"
PIECE_BYTES = 4 << 20

# Run as root in a fresh base image. Adds the user, and takes away what could be run with another's rights.
PREPARE = f"""
if ! grep -q '^[^:]*:[^:]*:1000:' /etc/passwd; then
    echo 'user:x:1000:1000:user:/home/user:/bin/bash' >> /etc/passwd
    grep -q '^[^:]*:[^:]*:1000:' /etc/group || echo 'user:x:1000:' >> /etc/group
fi
mkdir -p /home/user /workspace {LAYERS}/layers /etc/dcloud
chown 1000:1000 /home/user /workspace
rm -f /etc/apt/apt.conf.d/99mmdebstrap
find / -xdev -type f -perm /6000 -exec chmod a-s {{}} +
"""
PROBE = "import json, platform, sys; print(json.dumps([platform.python_version(), sys.executable]))"

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class BaseImage:
    """A base image in the engine. `key` is the same wherever the recipe is."""

    tag: str
    key: str
    python: str  # full version, "3.11.2"
    interpreter: str  # path in the image

    @property
    def python_minor(self) -> str:
        """As in "3.11"."""
        return ".".join(self.python.split(".")[:2])


class Images:
    """The base images of this machine. Several processes may work on the same at once."""

    def __init__(self, settings: Settings, engine: Engine, sources: Sources):
        self.settings = settings
        self.engine = engine
        self.sources = sources
        self.directory = settings.data_dir / "images"

    def get(self, contract: Contract, progress: Progress, log: Callable[[str], None]) -> BaseImage:
        """The base image of `contract`, made if it is not there. Raises ProvisionError.

        `progress` takes a fraction and a sentence.
        """
        recipe = recipe_for(contract)
        found = self._find(recipe)
        if found is None:
            waiting = f"Waiting for {recipe.title}, which is being made for another environment"
            with held(self.settings.data_dir / "locks" / f"image-{recipe.key}", lambda: progress(0, waiting)):
                found = self._find(recipe)
                if found is None:
                    self._make(recipe, progress, log)
                    found = self._find(recipe)
        if found is None:
            raise ProvisionError(Reason.IMAGE_UNAVAILABLE, f"{recipe.title} vanished from the engine. Try again.")
        if not found.python.startswith(contract.language.version):
            raise ProvisionError(
                Reason.IMAGE_UNAVAILABLE,
                f"{recipe.title} is not to be had: it comes with Python {found.python}. Ask for {found.python_minor}.",
            )
        progress(1, recipe.title)
        return found

    def _find(self, recipe: Recipe) -> BaseImage | None:
        image = self.engine.image(recipe.tag)
        labels = (image or {}).get("Config", {}).get("Labels") or {}
        if labels.get(BASE) != recipe.key:
            return None
        return BaseImage(recipe.tag, recipe.key, labels[PYTHON], labels[INTERPRETER])

    def _make(self, recipe: Recipe, progress: Progress, log: Callable[[str], None]) -> None:
        raw = f"dcloud-raw:{recipe.key}"
        pulled = self._pull(recipe, progress, log)
        if not pulled:
            log(f"No registry serves {recipe.image}; making {recipe.title} from the package mirror")
            self._bootstrap(recipe, raw, progress, log)
        progress(0.95, f"Preparing {recipe.title}")
        try:
            self._prepare(recipe, pulled or raw)
        finally:
            if not pulled:
                self.engine.remove_image(raw)

    def _pull(self, recipe: Recipe, progress: Progress, log: Callable[[str], None]) -> str:
        """Pull the image; its reference, or "" where no registry has it."""
        registry = self.settings.registry.rstrip("/")
        absent = self.directory / f"absent-{hashlib.sha256(registry.encode()).hexdigest()[:16]}"
        if absent.exists() and time.time() - absent.stat().st_mtime < ABSENT_SECONDS:
            return ""
        reference = f"{registry}/{recipe.image}".lstrip("/")
        layers: dict[str, tuple[int, int]] = {}
        try:
            if not self.engine.offered(reference):
                return ""
            for said in self.engine.pull(reference):
                detail = said.get("progressDetail") or {}
                if detail.get("total") and said.get("status") == "Downloading":
                    layers[said["id"]] = (detail["current"], detail["total"])
                done, total = (sum(column) for column in zip(*layers.values(), strict=True)) if layers else (0, 1)
                progress(0.9 * done / total, f"Pulling {recipe.image}")
        except EngineError as error:
            log(f"No registry answers for {reference}: {error}")
            absent.parent.mkdir(parents=True, exist_ok=True)
            absent.touch()
            return ""
        absent.unlink(missing_ok=True)
        return reference

    def _bootstrap(self, recipe: Recipe, raw: str, progress: Progress, log: Callable[[str], None]) -> None:
        scratch = self.directory / f"making-{recipe.key}"
        _clear(scratch)  # of a build that was killed; the lock is ours
        scratch.mkdir(parents=True)
        try:
            archive = scratch / "root.tar"
            mirror.build(recipe, scratch, archive, self.settings, lambda f, said: progress(0.8 * f, said), log)
            pieces = _pieces(archive, lambda at: progress(0.8 + 0.14 * at, f"Importing {recipe.title}"))
            self.engine.load(pieces, raw)
        except EngineError as error:
            raise ProvisionError(
                Reason.IMAGE_UNAVAILABLE, "The engine could not import the base image.", str(error)
            ) from error
        finally:
            _clear(scratch)

    def _prepare(self, recipe: Recipe, source: str) -> None:
        """Make the image that is kept out of `source`."""
        declared = ((self.engine.image(source) or {}).get("Config") or {}).get("Volumes")
        if declared:
            # the engine would give every environment an unlimited directory of the host for each
            raise ProvisionError(
                Reason.IMAGE_UNAVAILABLE, f"{source} declares volumes ({', '.join(declared)}), which have no limit."
            )
        try:
            with self._container(recipe, source) as container_id:
                if recipe.image == source.rpartition("/")[2] and recipe.packages:
                    self._said(container_id, "apt-get", "update", "-q")
                    self._said(container_id, "apt-get", "install", "-qy", "--no-install-recommends", *recipe.packages)
                self._said(container_id, "sh", "-euc", PREPARE)
                version, interpreter = json.loads(self._said(container_id, "python3", "-I", "-c", PROBE))
                labels = {BASE: recipe.key, PYTHON: version, INTERPRETER: interpreter}
                env = ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"]
                config = {"Labels": labels, "Env": env, "User": "1000:1000", "Cmd": ["bash"]}
                self.engine.commit(container_id, recipe.tag, config)
        except EngineError as error:
            raise ProvisionError(
                Reason.IMAGE_UNAVAILABLE, f"{recipe.title} could not be prepared.", str(error)
            ) from error

    @contextmanager
    def _container(self, recipe: Recipe, image: str) -> Iterator[str]:
        # Its labels and variables would become the image's, hence every environment's: it has none.
        config = {
            "Image": image,
            "User": "0:0",
            "Entrypoint": [""],  # the image's own is not run
            "Cmd": ["sleep", "3600"],
            "HostConfig": {"Init": True, "AutoRemove": True},
        }
        name = f"dcloud-preparing-{recipe.key}"
        self.engine.remove(name)  # of a process that was killed; the lock is ours
        container_id = self.engine.create(config, name)
        try:
            self.engine.start(container_id)
            yield container_id
        finally:
            self.engine.remove(container_id)

    def _said(self, container_id: str, *command: str) -> str:
        proxies = {k: v for k, v in self.sources.builder_env.items() if k.lower().endswith("_proxy")}
        running = Exec(self.engine, container_id, command, stdin=False, env=proxies)
        try:
            output = b"".join(iter(running.read, b"")).decode(errors="replace")
            failed = running.exit_code() != 0
        finally:
            running.close()
        if failed:
            raise EngineError(f"{command[0]} failed: {output[-2000:]}")
        return output


def _clear(scratch: Path) -> None:
    """Delete what a maker left, and never follow a mount that it may have made there."""
    subprocess.run(["rm", "--recursive", "--force", "--one-file-system", str(scratch)], check=False, timeout=600)


def _pieces(archive: Path, at: Callable[[float], None]) -> Iterator[bytes]:
    """A file in pieces, saying which fraction of it was read."""
    size = max(1, archive.stat().st_size)
    with archive.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
            at(file.tell() / size)
