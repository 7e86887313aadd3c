"""`make join`: this machine as one more host of an installation whose Redis runs elsewhere."""

from __future__ import annotations

import sys

from common.errors import RedisUnavailable
from deploy import redis_server, services, up
from deploy.installation import Installation
from deploy.steps import SetupError, step

REDIS_SECONDS = 5.0
HOW = (
    "Set DCLOUD_REDIS_URL to the value that it has in var/dcloud.env of the machine where `make run` was, with that "
    "machine's address in place of 127.0.0.1; that Redis listens there once DCLOUD_REDIS_BIND names the address."
)


def main() -> int:
    """Bring a worker up; the exit status."""
    return up.status_of(join, "make join")


def join(installation: Installation) -> None:
    """Let the engine and a worker run. What runs already is left as it is. Raises SetupError."""
    address = up.wanted(installation).get("DCLOUD_REDIS_URL", "")
    if redis_server.is_ours(installation.var):
        raise SetupError(
            f"{installation.var} holds an installation with a Redis of its own, and is a host already. Use another "
            "checkout, or another DCLOUD_VAR_DIR."
        )
    if not address:
        raise SetupError(f"Which installation? {HOW}")
    with step("Redis") as under_way:
        try:
            redis_server.wait_until_it_answers(address, REDIS_SECONDS)
        except RedisUnavailable as error:
            raise SetupError(f"{error}. {HOW}") from error
        installation.save(up.variables(installation, address))
        under_way.found = "answers"
    up.prepare_host(installation)
    with step("DCloud") as under_way:
        under_way.found = services.ensure_worker(installation)
    print(f"\n{installation.settings().host} takes what fits it from now on; `make stop` ends that.")


if __name__ == "__main__":
    sys.exit(main())
