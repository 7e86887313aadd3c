"""What computes for long runs apart from the loop on which thousands of watchers wait."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from gevent import monkey
from gevent.threadpool import ThreadPool

Result = TypeVar("Result")

AT_ONCE = 2  # each password takes 64 MiB and a core for 0.1 s; who comes later waits


def apart(call: Callable[..., Result], *arguments: Any) -> Result:
    """`call(*arguments)`, in a thread of its own where the process is one loop. It must not ask Redis."""
    if not monkey.is_module_patched("threading"):
        return call(*arguments)
    result: Result = _pool().apply(call, arguments)
    return result


@cache
def _pool() -> ThreadPool:
    return ThreadPool(AT_ONCE)
