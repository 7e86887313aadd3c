"""Exit codes, and the errors that end with them."""

from __future__ import annotations

from api.client import ApiError, Unreachable
from common.errors import DCloudError

REFUSED, NOT_FOUND, NOT_ALLOWED, UNREACHABLE = 2, 3, 4, 5

_OF_STATUS = {401: NOT_ALLOWED, 403: NOT_ALLOWED, 404: NOT_FOUND, 410: NOT_FOUND}


def code_of(error: DCloudError) -> int:
    """How a command ends that met this error."""
    if isinstance(error, Unreachable):
        return UNREACHABLE
    return _OF_STATUS.get(error.status, REFUSED) if isinstance(error, ApiError) else REFUSED
