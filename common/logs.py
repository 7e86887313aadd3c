"""Logs: one JSON object a line, with the ids of what it is about; in a terminal, lines for people.

`about` says what a stretch of work is about: every line that is written meanwhile, by whatever module,
carries it. `request` is the id of the HTTP request that began it all, `environment` an environment's.
"""

from __future__ import annotations

import logging
import sys
from contextlib import AbstractContextManager

import structlog

REQUEST, ENVIRONMENT = "request", "environment"

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
]


def set_up() -> None:
    """Write what this process logs to its standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(people=sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it names every address that it asks


def formatter(*, people: bool) -> logging.Formatter:
    """What makes a line of a record: text for people, or JSON, in which no line break of a value is one."""
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if people
        else [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(default=str),
        ]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )


def begin(**ids: str) -> None:
    """Forget what was before, and let the lines of this thread or greenlet carry `ids` from now on."""
    structlog.contextvars.clear_contextvars()
    note(**ids)


def note(**ids: str) -> None:
    """Let the lines from now on carry these too; empty ones are left out."""
    structlog.contextvars.bind_contextvars(**{name: value for name, value in ids.items() if value})


def about(**ids: str) -> AbstractContextManager[None]:
    """Let the lines meanwhile carry `ids`; empty ones are left out."""
    return structlog.contextvars.bound_contextvars(**{name: value for name, value in ids.items() if value})
