"""What the engine's calls raise: Docker's own errors are translated here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import RequestException

from common.errors import DCloudError


class EngineError(DCloudError):
    """The engine refused a call; the text is its own explanation."""


class EngineUnavailable(EngineError):
    """The engine does not answer."""


class EngineMissing(EngineError):
    """The engine knows no such container, image, volume or network."""


class EngineConflict(EngineError):
    """The name is taken, or the thing is in use."""


@contextmanager
def translated() -> Iterator[None]:
    """Let what Docker's SDK raises through as our own errors."""
    try:
        yield
    except NotFound as error:
        raise EngineMissing(_said(error)) from None
    except APIError as error:
        raise (EngineConflict if error.status_code == 409 else EngineError)(_said(error)) from None
    except (DockerException, RequestException, OSError) as error:
        raise EngineUnavailable(
            f"The Docker engine does not answer ({error}). Start it, or set DCLOUD_DOCKER_HOST to its address."
        ) from None


def _said(error: APIError) -> str:
    explanation: Callable[[], str] | str | None = error.explanation
    return str(explanation or error)
