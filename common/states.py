"""The life of an environment.

     queued ─▶ claimed ─▶ building ─▶ starting ─▶ running ─▶ stopping ─▶ stopped ─▶ queued (same host)
        │          └──────────┴───────────┴─▶ queued (host lost or worker died: attempt + 1, at most 3)
        └─▶ deleted        any live state ─▶ failed (with a reason), any ─▶ deleting ─▶ deleted

Of a host that is lost what was `starting` stays with it, for its container may be there: the host itself gives it back.
What is started again and cannot be made keeps its storage: it goes by `stopping` back to `stopped`.
`stopped` holds its storage and nothing else. A reason is separate from a state. The ledger
(`ledger_lua/`) enforces the same table; a test compares the two.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where an environment is."""

    QUEUED = "queued"  # waits for a host with room
    CLAIMED = "claimed"  # a host has reserved the room; work has not begun
    BUILDING = "building"  # base image, layer and volume are being made
    STARTING = "starting"  # the container is being created and started
    RUNNING = "running"  # the container runs
    STOPPING = "stopping"  # the container is being stopped
    STOPPED = "stopped"  # no container; the storage is kept
    FAILED = "failed"  # ended with a reason; holds nothing
    DELETING = "deleting"  # what is left on the host is being removed
    DELETED = "deleted"  # gone; only the record is left


TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.CLAIMED, State.FAILED, State.DELETED, State.DELETING}),
    State.CLAIMED: frozenset({State.BUILDING, State.QUEUED, State.STOPPING, State.FAILED, State.DELETING}),
    State.BUILDING: frozenset({State.STARTING, State.QUEUED, State.STOPPING, State.FAILED, State.DELETING}),
    State.STARTING: frozenset({State.RUNNING, State.QUEUED, State.STOPPING, State.FAILED, State.DELETING}),
    State.RUNNING: frozenset({State.STOPPING, State.FAILED, State.DELETING}),
    State.STOPPING: frozenset({State.STOPPED, State.FAILED, State.DELETING}),
    State.STOPPED: frozenset({State.QUEUED, State.FAILED, State.DELETING}),
    State.FAILED: frozenset({State.DELETED, State.DELETING}),
    State.DELETING: frozenset({State.DELETED}),
    State.DELETED: frozenset(),
}

LIVE = frozenset(State) - {State.FAILED, State.DELETED}
ENDED = frozenset({State.FAILED, State.DELETED})
ON_HOST = frozenset({State.CLAIMED, State.BUILDING, State.STARTING, State.RUNNING, State.STOPPING})


class Reason(StrEnum):
    """Why an environment failed, stopped, or went back to the queue, or what is wrong while it runs.

    Each has one sentence for its user.
    """

    LIBRARIES_UNRESOLVABLE = "libraries_unresolvable"
    LIBRARIES_NOT_INSTALLED = "libraries_not_installed"
    IMAGE_UNAVAILABLE = "image_unavailable"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    CONTAINER_NOT_STARTED = "container_not_started"
    CONTAINER_EXITED = "container_exited"
    OUT_OF_MEMORY = "out_of_memory"
    CONTAINER_LOST = "container_lost"
    GPU_LOST = "gpu_lost"
    HOST_LOST = "host_lost"
    WORKER_RESTARTED = "worker_restarted"
    HOST_SHUTDOWN = "host_shutdown"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    LIFETIME_OVER = "lifetime_over"
    STORAGE_NEARLY_FULL = "storage_nearly_full"
    STORAGE_BROKEN = "storage_broken"
    PAUSED = "paused"
    USER_REQUEST = "user_request"
    OVER_QUOTA = "over_quota"
    INTERNAL = "internal"


SENTENCES: dict[Reason, str] = {
    Reason.LIBRARIES_UNRESOLVABLE: "The libraries cannot be installed together. Change what the message names.",
    Reason.LIBRARIES_NOT_INSTALLED: "Installing the libraries failed. The build log says where.",
    Reason.IMAGE_UNAVAILABLE: "The base image could not be pulled or built. Ask your operator to run `dcloud doctor`.",
    Reason.STORAGE_UNAVAILABLE: "The host could not make the storage. Ask your operator to run `dcloud doctor`.",
    Reason.CONTAINER_NOT_STARTED: "The engine refused to start the container.",
    Reason.CONTAINER_EXITED: "The container ended by itself. Your files are kept; start it again.",
    Reason.OUT_OF_MEMORY: "It used more RAM than the contract allows. Your files are kept; ask for more RAM.",
    Reason.CONTAINER_LOST: "The container vanished from its host (a reboot?). Your files are kept; start it again.",
    Reason.GPU_LOST: "A GPU of this environment is lost. Save your work, then stop it and start it to get another.",
    Reason.HOST_LOST: "The host stopped answering.",
    Reason.WORKER_RESTARTED: "The worker on the host was restarted while it built this environment.",
    Reason.HOST_SHUTDOWN: "Its host was shut down. Your files are kept; start it again when the host is back.",
    Reason.TOO_MANY_ATTEMPTS: "Three hosts were lost or restarted meanwhile. Submit it again or ask your operator.",
    Reason.LIFETIME_OVER: "The lifetime that the contract asked for is over. Your files are kept.",
    Reason.STORAGE_NEARLY_FULL: "Over 90 % of its storage is used. Remove files, or stop it and start it with more.",
    Reason.STORAGE_BROKEN: "Its storage cannot be written after an error of the host's disk. Tell your operator.",
    Reason.PAUSED: "An operator of the host has paused it.",
    Reason.USER_REQUEST: "Asked for by its user.",
    Reason.OVER_QUOTA: "It would take its owner over the quota. It waits until enough is given back.",
    Reason.INTERNAL: "Something in DCloud broke. The worker's log has the details.",
}


class Phase(StrEnum):
    """What a host does for an environment between claim and run; each has its share of the progress."""

    IMAGE = "image"
    LIBRARIES = "libraries"
    STORAGE = "storage"
    START = "start"


# Share of the progress bar at which each phase begins and ends, in percent.
PROGRESS: dict[Phase, tuple[int, int]] = {
    Phase.IMAGE: (5, 40),
    Phase.LIBRARIES: (40, 85),
    Phase.STORAGE: (85, 90),
    Phase.START: (90, 99),
}
