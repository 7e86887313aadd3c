"""The engine: the one gateway to Docker. What it raises is in `engine_errors.py`.

Containers and volumes are made with the labels below; "ours" means both `dcloud.env` (or
`dcloud.builder`) and our own `dcloud.prefix`. Nothing else is listed, stopped or removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import docker
from docker.errors import APIError, NotFound

from common.settings import Settings
from workers.engine_errors import EngineConflict, EngineError, EngineMissing, EngineUnavailable, translated

__all__ = ["Engine", "EngineConflict", "EngineError", "EngineMissing", "EngineUnavailable"]

ENV = "dcloud.env"
TOKEN = "dcloud.token"  # noqa: S105
HOST = "dcloud.host"
OWNER = "dcloud.owner"
PREFIX = "dcloud.prefix"
STORAGE = "dcloud.storage"  # its size; of all limits the only one that the engine does not know
ORIGIN = "dcloud.request"  # id of the HTTP request that began it
BUILDER = "dcloud.builder"

TIMEOUT_SECONDS = 120
STAMP_BYTES = len("2026-01-31T23:59:59.123456789Z ")  # before each piece of a log
CONNECTIONS = 128  # streams of logs and sessions hold one each


class Engine:
    """Docker's API in the few calls that a host makes. Thread safe."""

    def __init__(self, settings: Settings):
        self.prefix = settings.key_prefix
        self.host = settings.host
        with translated():
            self._api = self._connect(settings, TIMEOUT_SECONDS)
            self._registry_api = self._connect(settings, settings.registry_timeout_seconds)
            self.version = str(self._api.version()["Version"])

    @staticmethod
    def _connect(settings: Settings, timeout_seconds: float) -> docker.APIClient:
        keywords: dict[str, Any] = {"timeout": timeout_seconds, "max_pool_size": CONNECTIONS}
        if settings.docker_host:
            return docker.DockerClient(base_url=settings.docker_host, **keywords).api
        return docker.from_env(**keywords).api

    def close(self) -> None:
        """Give the connections back."""
        self._api.close()
        self._registry_api.close()

    # -- containers

    def create(self, config: Mapping[str, Any], name: str = "") -> str:
        """Create a container from an Engine API body; its id."""
        with translated():
            return str(cast(Any, self._api).create_container_from_config(dict(config), name or None)["Id"])

    def start(self, container_id: str) -> None:
        """Start a container; one that runs already is left as it is."""
        with translated():
            self._api.start(container_id)

    def stop(self, container_id: str, grace_seconds: float) -> None:
        """Ask a container to end, kill it after the grace; one that is gone or ended is left as it is."""
        with translated():
            try:
                self._api.stop(container_id, timeout=max(0, round(grace_seconds)))
            except NotFound:
                return

    def remove(self, container_id: str) -> None:
        """Kill and remove a container; one that is gone is fine."""
        with translated():
            try:
                self._api.remove_container(container_id, force=True, v=True)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != 409 or "already in progress" not in str(error):
                    raise
                with suppress(NotFound):  # another removes it, and may be done by now
                    self._api.wait(container_id, condition="removed")

    def containers(self, *labels: str) -> list[dict[str, Any]]:
        """Ours with these labels (`key` or `key=value`), running or not, as `docker inspect` shows them."""
        result = []
        with translated():
            for row in self._api.containers(all=True, filters={"label": [f"{PREFIX}={self.prefix}", *labels]}):
                try:
                    result.append(self._api.inspect_container(row["Id"]))
                except NotFound:
                    continue
        return result

    def inspect(self, container_id: str) -> dict[str, Any]:
        """A container as `docker inspect` shows it. Raises EngineMissing."""
        with translated():
            return cast(dict[str, Any], self._api.inspect_container(container_id))

    def rows(self, *labels: str) -> list[dict[str, Any]]:
        """Ours with these labels, those that have ended left out, as `docker ps` knows them: one call, however many."""
        with translated():
            rows = self._api.containers(filters={"label": [f"{PREFIX}={self.prefix}", *labels]})
            return cast(list[dict[str, Any]], rows)

    def events(self, labels: Sequence[str], kinds: Sequence[str], since: str = "") -> Iterator[dict[str, Any]]:
        """What happens to containers of ours from now on, or from the moment `since`, as the engine tells it.

        The engine has heard of us when this returns. The iterator ends, or raises EngineUnavailable, with the engine.
        """
        chosen = {"type": "container", "event": list(kinds), "label": [f"{PREFIX}={self.prefix}", *labels]}
        with translated():
            stream = cast(Any, self._api).events(since=since or None, filters=chosen, decode=True)
        return self._heard(stream)

    @staticmethod
    def _heard(stream: Any) -> Iterator[dict[str, Any]]:
        with translated():
            yield from stream

    def logs(self, container_id: str, tail: int, follow: bool, since: str, timestamps: bool) -> LogStream:
        """What the container's main process wrote after the moment `since`, a piece's own stamp, or ever ("")."""
        second = int(datetime.fromisoformat(since[:19]).replace(tzinfo=UTC).timestamp()) if since else None
        with translated():
            stream = self._api.logs(
                container_id, stdout=True, stderr=True, stream=True, timestamps=True, since=second, follow=follow,
                tail=tail if tail >= 0 else "all",
            )  # fmt: skip
            return LogStream(stream, since, timestamps)

    def cdi_directories(self) -> list[str]:
        """Where the engine finds the devices that it can hand over itself (CDI); none where it cannot."""
        with translated():
            return list(self._api.info().get("CDISpecDirs") or ())

    # -- commands in containers

    def exec_create(
        self, container_id: str, command: Sequence[str], tty: bool, stdin: bool, env: Mapping[str, str]
    ) -> str:
        """Prepare a command in a running container, as its user and in its directory; the exec's id."""
        with translated():
            prepared = self._api.exec_create(container_id, list(command), stdin=stdin, tty=tty, environment=dict(env))
            return str(prepared["Id"])

    def exec_start(self, exec_id: str, tty: bool) -> Any:
        """Run a prepared command; the reader of the connection that carries its streams."""
        with translated():
            return self._api.exec_start(exec_id, tty=tty, socket=True)

    def exec_resize(self, exec_id: str, rows: int, columns: int) -> None:
        """Tell a command's terminal its size."""
        with translated():
            self._api.exec_resize(exec_id, height=rows, width=columns)

    def exec_inspect(self, exec_id: str) -> dict[str, Any]:
        """`Running`, `ExitCode` and `Pid` of a command."""
        with translated():
            return self._api.exec_inspect(exec_id)

    # -- images

    def image(self, reference: str) -> dict[str, Any] | None:
        """An image as `docker image inspect` shows it, None where the engine has no such image."""
        with translated():
            try:
                return cast(dict[str, Any], cast(Any, self._api).inspect_image(reference))
            except NotFound:
                return None

    def offered(self, reference: str) -> bool:
        """Whether a registry has the image. Raises EngineError, within the registry's time where none answers."""
        with translated():
            try:
                cast(Any, self._registry_api).inspect_distribution(reference)
            except APIError as error:
                if error.status_code in (401, 403, 404):  # it answers; not even that it exists may be known
                    return False
                raise
        return True

    def pull(self, reference: str) -> Iterator[dict[str, Any]]:
        """Pull an image that is offered; the registry's progress. Raises EngineError."""
        repository, _, tag = reference.rpartition(":")
        with translated():
            for said in self._api.pull(repository, tag=tag, stream=True, decode=True):
                if "error" in said:
                    raise EngineError(str(said["error"]))
                yield said

    def load(self, archive: Iterator[bytes], reference: str) -> None:
        """Make an image of a root file system, a tar file in pieces."""
        repository, _, tag = reference.rpartition(":")
        with translated():
            self._api.import_image_from_data(cast(Any, archive), repository=repository, tag=tag)

    def commit(self, container_id: str, reference: str, config: Mapping[str, Any]) -> None:
        """Make an image of a container's file system; `config` (Env, Labels) becomes the image's."""
        repository, _, tag = reference.rpartition(":")
        with translated():
            self._api.commit(container_id, repository=repository, tag=tag, conf=dict(config))

    def put(self, container_id: str, directory: str, archive: Iterator[bytes]) -> None:
        """Unpack a tar file, in pieces, in a directory of a container."""
        with translated():
            self._api.put_archive(container_id, directory, cast(Any, archive))

    def remove_image(self, reference: str) -> None:
        """Remove a tag, and the image where it was the last; one that is gone is fine."""
        with translated():
            try:
                self._api.remove_image(reference)
            except NotFound:
                return

    # -- volumes and networks

    def create_volume(self, name: str, options: Mapping[str, str], labels: Mapping[str, str]) -> None:
        """A volume of the `local` driver; the engine mounts it when a container starts."""
        with translated():
            self._api.create_volume(name, driver="local", driver_opts=dict(options), labels=dict(labels))

    def remove_volume(self, name: str) -> None:
        """Remove a volume; one that is gone is fine. Raises EngineConflict where a container uses it."""
        with translated():
            try:
                self._api.remove_volume(name)
            except NotFound:
                return

    def volumes(self, *labels: str) -> list[dict[str, Any]]:
        """Ours with these labels, as `docker volume inspect` shows them."""
        with translated():
            found = self._api.volumes(filters={"label": [f"{PREFIX}={self.prefix}", *labels]})
            return list(found["Volumes"] or ())

    def network(self, name: str) -> dict[str, Any] | None:
        """A network as `docker network inspect` shows it, None where there is none."""
        with translated():
            try:
                return cast(dict[str, Any], self._api.inspect_network(name))
            except NotFound:
                return None

    def create_network(self, name: str, options: Mapping[str, str], subnet: str, labels: Mapping[str, str]) -> None:
        """A bridge network; `subnet` "" lets the engine choose one."""
        with translated():
            ipam = {"Driver": "default", "Config": [{"Subnet": subnet}]} if subnet else None
            self._api.create_network(
                name,
                driver="bridge",
                options=dict(options),
                ipam=cast(Any, ipam),
                labels=dict(labels),
                check_duplicate=True,
            )

    def remove_network(self, name: str) -> None:
        """Remove a network; one that is gone is fine. Raises EngineError where containers are attached."""
        with translated():
            try:
                self._api.remove_network(name)
            except NotFound:
                return


class LogStream:
    """What a container wrote, to be gone through once: pieces of a line each, or of 16 KiB of a longer one."""

    def __init__(self, stream: Any, since: str, timestamps: bool):
        """`stream` gives each behind its stamp; the stamps' order is that of their text."""
        self._stream = stream
        self._since = since.encode()
        self._from = 0 if timestamps else STAMP_BYTES

    def __iter__(self) -> Iterator[bytes]:
        with translated():
            try:
                for piece in self._stream:
                    if piece[: STAMP_BYTES - 1] > self._since:
                        yield piece[self._from :]
            finally:
                self._stream._response.close()

    def close(self) -> None:
        """End it for whoever goes through it, in whatever thread: a container may write nothing for days."""
        with suppress(AttributeError, OSError):  # it has ended, which the SDK does not expect
            self._stream.close()
