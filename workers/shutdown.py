"""`python -m workers.shutdown`: end all that DCloud runs on this host, after its worker has ended.

Every environment is stopped and keeps its storage; what was being made waits again. Nothing of ours is
left in the engine, the mounts or the firewall. Without Redis the same happens, and the ledger learns of
it when the worker starts again.
"""

from __future__ import annotations

import logging
import sys

from common.errors import DCloudError, LedgerError
from common.ledger import Ledger
from common.settings import settings
from common.states import SENTENCES, Reason, State
from workers.member import Member
from workers.provision import Host

log = logging.getLogger(__name__)


def shut_down(host: Host, member: Member | None) -> None:
    """Stop what this host holds; with `member`, a joined one, the ledger is told."""
    for env_id in {container.env_id for container in host.containers()} | set(host.volumes()):
        host.stop(env_id)
        if member:
            _tell(member, env_id)
    host.teardown()


def _tell(member: Member, env_id: str) -> None:
    reason = Reason.HOST_SHUTDOWN
    try:
        job = member.ledger.job(env_id)
        state = member.ledger.get(env_id).state
        if state is State.RUNNING:
            member.advance(job, State.STOPPING, 0, SENTENCES[reason], reason)
        if state in (State.RUNNING, State.STOPPING):
            member.release(env_id, job.token, State.STOPPED, reason, SENTENCES[reason])
    except LedgerError as error:
        log.info("environment %s: %s", env_id, error)


def main() -> int:
    """The exit code: 0 where all is ended."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        values = settings()
        host = Host(values)
        member = None
        try:
            member = Member(values, Ledger.connect(values), host)
            member.join()
        except DCloudError as error:
            log.warning("The ledger is not told: %s", error)
            member = None
        shut_down(host, member)
    except DCloudError as error:
        log.critical("This host is not shut down: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
