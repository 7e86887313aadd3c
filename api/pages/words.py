"""What is shown, in plain words: states, reasons with what to try, amounts and times."""

from __future__ import annotations

import zlib

from flask import Flask

from api import wire
from api.amounts import cores, duration, gpu_words, need
from common import units
from common.states import SENTENCES, Phase, Reason, State

STATES = {
    State.QUEUED: "Waiting",
    State.CLAIMED: "Preparing",
    State.BUILDING: "Building",
    State.STARTING: "Starting",
    State.RUNNING: "Running",
    State.STOPPING: "Stopping",
    State.STOPPED: "Stopped",
    State.FAILED: "Failed",
    State.DELETING: "Deleting",
    State.DELETED: "Deleted",
}
PHASES = {Phase.IMAGE: "Base image", Phase.LIBRARIES: "Libraries", Phase.STORAGE: "Storage", Phase.START: "Start"}
TRY = {
    Reason.LIBRARIES_UNRESOLVABLE: "Look for a typing error in the names and versions below, or leave the versions "
    "out. Then make it again with changes.",
    Reason.LIBRARIES_NOT_INSTALLED: "Read the last lines of the build log. More storage, or another version of the "
    "library that it names, often helps.",
    Reason.IMAGE_UNAVAILABLE: "Choose another operating system or Python version, or ask your operator.",
    Reason.STORAGE_UNAVAILABLE: "Try again; if it stays like this, tell your operator.",
    Reason.CONTAINER_NOT_STARTED: "Try again; if it stays like this, tell your operator.",
    Reason.CONTAINER_EXITED: "Start it again. Its files are as you left them.",
    Reason.OUT_OF_MEMORY: "Make it again with more RAM.",
    Reason.CONTAINER_LOST: "Start it again. Its files are as you left them.",
    Reason.GPU_LOST: "Make it again; the sick GPU is not given out any more.",
    Reason.HOST_LOST: "Make it again; another host will take it.",
    Reason.HOST_SHUTDOWN: "Start it again once its host is back.",
    Reason.TOO_MANY_ATTEMPTS: "Make it again, or ask your operator what happens to the hosts.",
    Reason.LIFETIME_OVER: "Start it again, or make it again with a longer lifetime.",
    Reason.STORAGE_NEARLY_FULL: "Delete what is not needed, or stop it and give it more storage.",
    Reason.STORAGE_BROKEN: "Copy away what matters, and tell your operator.",
    Reason.PAUSED: "Ask your operator; somebody paused its container on the host.",
    Reason.OVER_QUOTA: "Stop or delete another environment, or ask your admin for more.",
    Reason.INTERNAL: "Try again. If it happens twice, tell your operator the number of the environment.",
}
MOVING = frozenset(
    {State.QUEUED, State.CLAIMED, State.BUILDING, State.STARTING, State.STOPPING, State.DELETING}
)  # what goes on by itself
COLOURS = 10


def register(app: Flask) -> None:
    """Give templates these words."""
    env = app.jinja_env
    env.trim_blocks = env.lstrip_blocks = True
    env.filters.update(
        state=STATES.__getitem__, mib=units.human_mib, cores=cores, at=wire.time, sentence=sentence, hint=hint,
        gpu=gpu_words, colour=colour, duration=duration, heard=heard, need=need,
        plain=lambda number: f"{number:g}",
    )  # fmt: skip
    env.globals.update(State=State, MOVING=MOVING)


def sentence(reason: str) -> str:
    """What a reason means."""
    return SENTENCES[Reason(reason)] if reason else ""


def hint(reason: str) -> str:
    """What to try after it."""
    return TRY.get(Reason(reason), "") if reason else ""


def heard(seconds: float) -> str:
    """The age of a heartbeat, so coarse that a page does not change with each."""
    return "less than a minute" if seconds < 60 else duration(seconds - seconds % 60)


def colour(name: str) -> str:
    """The CSS class that an environment has in every picture."""
    return f"tint-{zlib.crc32(name.encode()) % COLOURS}"
