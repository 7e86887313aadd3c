"""Builders: short-lived containers in which uv works on the store.

The store is one bind mount, because hard links do not cross mounts. While it is writable no code from a
library runs: wheels only, and Python with neither `site` nor the environment's own directory.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uv

from common.errors import ProvisionError
from common.settings import Settings
from common.states import Reason
from workers import uv_config
from workers.downloads import received_bytes
from workers.engine import BUILDER, HOST, PREFIX, Engine, EngineError, EngineMissing
from workers.execution import Exec
from workers.images import BaseImage
from workers.network import Network
from workers.sources import Sources
from workers.volumes import USER

STORE = "/opt/dcloud"  # where every container sees the store, or the one layer of it that is its own
BUILD = "/opt/build"  # where a builder that is thrown away works
BUILD_BYTES = 4 << 30  # memory of one, with what it writes
TICK_SECONDS = 0.25
IDLE_SECONDS = 600.0  # making a builder takes as long as installing known wheels; the next may come soon
LIFE_SECONDS = 4 * 3600  # one that was forgotten ends by itself
# What a builder may take: wheels can hold a thousand times their size, and files that take a compiler all RAM there is.
MEMORY_BYTES = (4 << 30) + len(os.sched_getaffinity(0)) * (512 << 20)  # it compiles with all cores
FREE_BYTES, FREE_FILES = 1 << 30, 50_000  # what stays free of the disk; where none is left everybody's storage breaks

UV_ENV = {
    "HOME": "/tmp",  # noqa: S108
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_LINK_MODE": "hardlink",
    "UV_NO_ENV_FILE": "1",
    "NO_COLOR": "1",
}


class Builder:
    """One running builder."""

    def __init__(self, engine: Engine, container_id: str, store: Path):
        self._engine = engine
        self._id = container_id
        self._store = store

    def received_bytes(self) -> int:
        """What came to it over the network so far; where it shares the host's network, all that came to the host."""
        return received_bytes(int(self._engine.inspect(self._id)["State"]["Pid"]))

    def run(self, command: Sequence[str], line: Callable[[str], None], tick: Callable[[], None]) -> int:
        """Run a command; `line` takes each line of its output, `tick` is called now and then. The exit code.

        What they raise ends the wait, and the command with its builder. Raises ProvisionError where the disk is full.
        """
        running = Exec(self._engine, self._id, command, stdin=False)
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(running, lines), daemon=True)
        reader.start()
        try:
            _look_for_room(self._store)
            tick()
            while True:
                try:
                    said = lines.get(timeout=TICK_SECONDS)
                except queue.Empty:
                    _look_for_room(self._store)
                    tick()
                    continue
                if said is None:
                    break
                line(said)
            while (code := running.wait(TICK_SECONDS)) is None:
                tick()
            return code
        finally:
            running.close()
            reader.join()

    def read(self, path: str, limit_bytes: int) -> bytes:
        """The content of a file there. Raises EngineError where it is longer than `limit_bytes`."""
        running, content = Exec(self._engine, self._id, ["cat", path], stdin=False), bytearray()
        try:
            while piece := running.read():
                content += piece
                if len(content) > limit_bytes:
                    raise EngineError(f"{path} of a builder has more than {limit_bytes} bytes.")
        finally:
            running.close()
        return bytes(content)


def _look_for_room(store: Path) -> None:
    said = os.statvfs(store)
    if said.f_bavail * said.f_frsize < FREE_BYTES or (said.f_files and said.f_favail < FREE_FILES):
        raise ProvisionError(
            Reason.LIBRARIES_NOT_INSTALLED,
            "The disk of the host has no room for these libraries. Ask for fewer, or its operator for more.",
        )


def _read(running: Exec, lines: queue.Queue[str | None]) -> None:
    rest = b""
    while piece := running.read():
        *whole, rest = (rest + piece).split(b"\n")
        for text in whole:
            lines.put(text.decode(errors="replace").rstrip())
    if rest:
        lines.put(rest.decode(errors="replace"))
    lines.put(None)


class Builders:
    """Makes builders on this host."""

    def __init__(self, settings: Settings, engine: Engine, network: Network, sources: Sources):
        self.engine = engine
        self.network = network
        self.sources = sources
        self.store = settings.data_dir / "store"
        self.uv_config = settings.data_dir / "uv.toml"
        self._mutex = threading.Lock()
        self._idle: list[tuple[str, str, float]] = []  # base image, container, since when

    def cache(self, base: BaseImage) -> Path:
        """uv's cache for one interpreter version: compiled files in it serve that version only."""
        return self.store / "cache" / f"python-{base.python_minor}"

    def prepare_store(self) -> None:
        """The directories that a builder needs."""
        self.store.parent.mkdir(parents=True, exist_ok=True)
        self.store.parent.chmod(0o700)  # nobody but root and the builders gets at what everyone shares
        for path in (self.store, self.store / "cache", self.store / "layers", self.store / "work"):
            if not path.exists():
                path.mkdir()
                os.chown(path, USER, USER)
        uv_config.write(self.uv_config, self.sources)

    @contextmanager
    def builder(self, base: BaseImage) -> Iterator[Builder]:
        """A builder of a base image, kept for the next for a while; gone at once where the work fails.

        Raises EngineError.
        """
        container_id = self._take(base)
        if container_id is None or not self._runs(container_id):
            container_id = self._make(base)
        try:
            yield Builder(self.engine, container_id, self.store)
        except BaseException:
            self.engine.remove(container_id)
            raise
        self._keep(base, container_id)

    @contextmanager
    def thrown_away(self, base: BaseImage) -> Iterator[Builder]:
        """A builder of a base image for somebody's code: without the store, and gone at the end. Raises EngineError."""
        config = self._config(base)
        store = f"{self.store.absolute()}:{STORE}"
        host = config["HostConfig"]
        host["Binds"] = [bind for bind in host["Binds"] if bind != store]
        host["Tmpfs"][BUILD] = f"rw,exec,nosuid,nodev,size={BUILD_BYTES},uid={USER},gid={USER},mode=0700"
        host["NetworkMode"] = self.network.ready()  # never the host's own, whatever listens there
        host["Memory"] = host["MemorySwap"] = BUILD_BYTES
        config["WorkingDir"] = BUILD
        config["Env"] = [entry for entry in config["Env"] if not entry.startswith("UV_CACHE_DIR=")]
        config["Env"].append(f"UV_CACHE_DIR={BUILD}/cache")
        container_id = self.engine.create(config)
        try:
            self.engine.start(container_id)
            yield Builder(self.engine, container_id, self.store)
        finally:
            self.engine.remove(container_id)

    def close(self, idle_seconds: float = 0) -> None:
        """Remove builders that have been idle for so long."""
        now = time.monotonic()
        with self._mutex:
            old = [entry for entry in self._idle if now - entry[2] >= idle_seconds]
            self._idle = [entry for entry in self._idle if entry not in old]
        for _tag, container_id, _since in old:
            self.engine.remove(container_id)

    def _take(self, base: BaseImage) -> str | None:
        with self._mutex:
            for entry in reversed(self._idle):
                if entry[0] == base.tag:
                    self._idle.remove(entry)
                    return entry[1]
        return None

    def _runs(self, container_id: str) -> bool:
        """Somebody may have removed it meanwhile, or the engine was restarted."""
        try:
            return bool(self.engine.inspect(container_id)["State"]["Running"])
        except EngineMissing:
            return False

    def _make(self, base: BaseImage) -> str:
        self.prepare_store()
        container_id = self.engine.create(self._config(base))
        try:
            self.engine.start(container_id)
        except BaseException:
            self.engine.remove(container_id)
            raise
        return container_id

    def _keep(self, base: BaseImage, container_id: str) -> None:
        with self._mutex:
            self._idle.append((base.tag, container_id, time.monotonic()))
        timer = threading.Timer(IDLE_SECONDS, self._close_old)
        timer.daemon = True
        timer.start()

    def _close_old(self) -> None:
        with suppress(EngineError):  # the next start of the worker removes what is left
            self.close(IDLE_SECONDS)

    def _config(self, base: BaseImage) -> dict[str, Any]:
        binds = [f"{self.store.absolute()}:{STORE}", f"{uv.find_uv_bin()}:/usr/local/bin/uv:ro"]
        binds.append(f"{self.uv_config.absolute()}:{uv_config.FILE}:ro")
        binds += [f"{source}:{target}:ro" for source, target in self.sources.mounts]
        env = {
            **UV_ENV,
            **{name: value for name, value in self.sources.builder_env.items() if name not in uv_config.INSTEAD_OF},
            "UV_CONFIG_FILE": uv_config.FILE,
            "UV_CACHE_DIR": f"{STORE}/cache/{self.cache(base).name}",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
        }
        return {
            "Image": base.tag,
            "User": f"{USER}:{USER}",
            "WorkingDir": "/tmp",  # noqa: S108
            "Entrypoint": [""],
            "Cmd": ["sleep", str(LIFE_SECONDS)],
            "Env": [f"{name}={value}" for name, value in env.items()],
            "Labels": {PREFIX: self.engine.prefix, HOST: self.engine.host, BUILDER: str(os.getpid())},
            "HostConfig": {
                "Init": True,
                "AutoRemove": True,
                "Binds": binds,
                "ReadonlyRootfs": True,
                "Tmpfs": {"/tmp": "rw,nosuid,nodev,size=1g,mode=1777"},  # noqa: S108
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
                "Memory": MEMORY_BYTES,
                "MemorySwap": MEMORY_BYTES,
                "PidsLimit": 1024,
                "NetworkMode": "host" if self.sources.on_loopback else self.network.ready(),
                "LogConfig": {"Type": "none"},
            },
        }
