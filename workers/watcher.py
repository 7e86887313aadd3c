"""The watcher: follows the engine's events, so that what happens to a container is told at once and not at a sweep.

What is missed while the engine is away is looked for when it is back; the reconciler's sweep finds the rest.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from common import logs
from common.celery_app import queue_of
from common.errors import DCloudError, RedisUnavailable
from workers import tasks
from workers.endings import Endings
from workers.engine import ENV, ORIGIN, TOKEN, EngineError
from workers.member import Member
from workers.sampler import Sampler

log = logging.getLogger(__name__)

KINDS = ("die", "oom", "pause", "unpause", "health_status")
AGAIN_SECONDS = 1.0


class Watcher:
    """One thread."""

    def __init__(self, member: Member, endings: Endings, sampler: Sampler):
        self.member = member
        self.endings = endings
        self.sampler = sampler
        self._since = ""
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self.follow()
            except EngineError as error:
                log.warning("the watcher waits for the engine: %s", error)
            except Exception:
                log.exception("the watcher goes on")
            time.sleep(AGAIN_SECONDS)

    def follow(self) -> None:
        """Hear of everything until the engine goes away."""
        events = self.member.host.events(KINDS, self._since)
        self._catch_up()
        for event in events:
            self._since = f"{event['time']}.{event['timeNano'] % 10**9:09}"
            try:
                self._heard(event)
            except (RedisUnavailable, EngineError) as error:
                log.warning("the reconciler will find it: %s", error)

    def _heard(self, event: dict[str, Any]) -> None:
        container_id, labels = event["Actor"]["ID"], event["Actor"]["Attributes"]
        with logs.about(environment=labels.get(ENV, ""), request=labels.get(ORIGIN, "")):
            self._told(event["Action"], container_id, labels)

    def _told(self, action: str, container_id: str, labels: dict[str, str]) -> None:
        log.info("the engine says %s", action)
        if action == "die":
            self._ended(labels[ENV], int(labels.get(TOKEN, "0")), container_id)
            return
        if action == "oom":
            self.endings.oom(container_id)
        self.sampler.look_soon()

    def _catch_up(self) -> None:
        """What ended while nobody listened."""
        try:
            for found in self.member.host.containers():
                if not found.running:
                    self._ended(found.env_id, found.token, found.container_id)
        except DCloudError as error:
            log.warning("the reconciler will find it: %s", error)

    def _ended(self, env_id: str, token: int, container_id: str) -> None:
        stop = self.endings.ended(env_id, token, lambda: self.member.host.container(container_id))
        if stop:
            tasks.stop_environment.apply_async((env_id, stop), queue=queue_of(self.member.name))
