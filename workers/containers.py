"""Containers: their life on this host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from common.environment import Job
from common.errors import NotFound, ProvisionError, StaleToken
from common.settings import Settings
from common.states import Reason
from workers.confinement import Place, body, overlay_name
from workers.engine import (
    ENV,
    HOST,
    PREFIX,
    TOKEN,
    Engine,
    EngineConflict,
    EngineError,
    EngineMissing,
    EngineUnavailable,
    LogStream,
)
from workers.execution import Exec
from workers.usage import Kernel


@dataclass(frozen=True)
class Found:
    """A container of ours on this host."""

    env_id: str
    token: int
    container_id: str
    name: str
    host: str
    running: bool
    exit_code: int | None  # None while it runs, before it first ran, and once somebody is removing it
    oom_killed: bool  # the engine's word for it; a process of its own may have been meant
    created_at: float  # seconds since the epoch, by the engine's clock
    pid: int  # its first process on this machine, 0 where it does not run
    paused: bool
    gpus: tuple[str, ...]  # UUIDs


class Containers:
    """The containers of this host."""

    def __init__(self, settings: Settings, engine: Engine):
        self.settings = settings
        self.engine = engine
        self._kernel = Kernel()
        self._known: dict[str, Found] = {}  # that lived when last looked at, by id

    def take_over(self, job: Job) -> str:
        """The container that an earlier attempt with this token left, "" where there is none.

        What an older token left is removed, under whatever host name of this machine it was made.
        Raises StaleToken where a newer one exists.
        """
        mine = ""
        for found in self._of(job.id):
            if found.token > job.token:
                raise StaleToken(f"A container with the newer token {found.token} exists.")
            if found.token == job.token and found.host == self.settings.host and not mine:
                mine = found.container_id
            else:
                self.engine.remove(found.container_id)
        return mine

    def start(self, job: Job, place: Place, container_id: str) -> str:
        """Start the container that was taken over, or else a new one; its id. Raises ProvisionError."""
        try:
            if not container_id:
                self._lay_over(job, place)
                container_id = self._create(job, place)
            self.engine.start(container_id)
        except EngineUnavailable as error:
            raise ProvisionError(
                Reason.CONTAINER_NOT_STARTED, "The Docker engine of the host does not answer.", str(error)
            ) from error
        except EngineError as error:
            self.stop(job.id, 0)
            self.uncover(job.id)
            raise ProvisionError(
                Reason.CONTAINER_NOT_STARTED, f"The engine refused to start the container: {error}", str(error)
            ) from error
        return container_id

    def _lay_over(self, job: Job, place: Place) -> None:
        """The engine's volume that mounts the layer with its upper side on the environment's storage."""
        upper, work = place.volume.upper(place.layer.key)
        options = f"lowerdir={place.layer.tree.absolute()},upperdir={upper.absolute()},workdir={work.absolute()}"
        name = overlay_name(job.id)
        if job.attempt > 1 or job.has_storage:
            self.engine.remove_volume(name)  # one of before may lie over another layer
        self.engine.create_volume(
            name,
            {"type": "overlay", "device": "overlay", "o": f"nosuid,nodev,{options}"},
            {ENV: job.id, HOST: self.settings.host, PREFIX: self.settings.key_prefix},
        )

    def _create(self, job: Job, place: Place) -> str:
        name = f"dcloud-{job.id}"  # the engine tells it to every environment that asks who has this address
        try:
            return self.engine.create(body(job, place, self.settings), name)
        except EngineConflict as error:
            raise EngineError(
                f"Another container has the name {name}. Its operator can remove it. ({error})"
            ) from error

    def stop(self, env_id: str, grace_seconds: float) -> None:
        """End and remove this host's container of an environment; fine where there is none."""
        for found in self._of(env_id):
            if found.host == self.settings.host:
                if found.running and grace_seconds > 0:
                    self.engine.stop(found.container_id, grace_seconds)
                self.engine.remove(found.container_id)

    def uncover(self, env_id: str) -> None:
        """Remove what was laid over the layer; fine where there is nothing. After `stop`."""
        self.engine.remove_volume(overlay_name(env_id))

    def covered(self) -> set[str]:
        """Environments of this host that something is laid over a layer for."""
        rows = self.engine.volumes(ENV, f"{HOST}={self.settings.host}")
        return {row["Labels"][ENV] for row in rows if row["Name"] == overlay_name(row["Labels"][ENV])}

    def all(self) -> list[Found]:
        """Ours that carry this host's name."""
        rows = self.engine.containers(ENV, f"{HOST}={self.settings.host}")
        return [found for row in rows if (found := _found(row))]

    def living(self) -> list[Found]:
        """Those of `all` that run or are paused. Cheap enough to ask often: each is inspected once."""
        rows = {row["Id"]: row for row in self.engine.rows(ENV, f"{HOST}={self.settings.host}")}
        known = {}
        for container_id, row in rows.items():
            found = self._known.get(container_id) or self.find(container_id)
            if found and found.pid:
                known[container_id] = replace(found, paused=row["State"] == "paused")
        self._known = known
        return list(known.values())

    def find(self, container_id: str) -> Found | None:
        """One of ours, None where it is gone."""
        try:
            row = self.engine.inspect(container_id)
        except EngineMissing:
            return None
        found = _found(row)
        if found and found.pid:
            self._known[container_id] = found
        return found

    def exec(self, env_id: str, command: Sequence[str], tty: bool) -> Exec:
        """Run a command in the environment, as its user. Raises NotFound."""
        found = self._one(env_id)
        if not found.running:
            raise NotFound("The environment does not run now. Start it and try again.")
        kills = partial(self._kernel.oom_kills, found.pid)
        return Exec(self.engine, found.container_id, command, tty, oom_kills=kills)

    def logs(self, env_id: str, tail: int, follow: bool, since: str, timestamps: bool) -> LogStream:
        """What the container's main process wrote, as `Engine.logs` has it. Raises NotFound."""
        return self.engine.logs(self._one(env_id).container_id, tail, follow, since, timestamps)

    def _one(self, env_id: str) -> Found:
        for found in self._of(env_id):
            if found.host == self.settings.host:
                return found
        raise NotFound("The environment has no container now. Start it and try again.")

    def _of(self, env_id: str) -> list[Found]:
        rows = self.engine.containers(f"{ENV}={env_id}")
        return [found for row in rows if (found := _found(row))]


def _found(row: dict[str, Any]) -> Found | None:
    labels, state = row["Config"]["Labels"], row["State"]
    if not labels.get(TOKEN, "").isdigit():
        return None
    ran = not state["StartedAt"].startswith("0001")
    # one that is removed by force is killed first, which is no end of its own
    ended = ran and not state["Running"] and state["Status"] not in ("removing", "dead")
    return Found(
        env_id=labels[ENV],
        token=int(labels[TOKEN]),
        container_id=row["Id"],
        name=row["Name"].lstrip("/"),
        host=labels[HOST],
        running=bool(state["Running"]),
        exit_code=int(state["ExitCode"]) if ended else None,
        oom_killed=bool(state["OOMKilled"]),
        pid=int(state["Pid"]),
        paused=bool(state["Paused"]),
        gpus=tuple(
            name.rpartition("=")[2]  # by CDI each has its kind before it
            for request in row["HostConfig"].get("DeviceRequests") or ()
            for name in request["DeviceIDs"] or ()
        ),
        created_at=datetime.fromisoformat(re.sub(r"\.\d+", "", row["Created"]).replace("Z", "+00:00")).timestamp(),
    )
