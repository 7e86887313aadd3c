"""`make run`, once the virtual environment is there: engine, Redis, services, and the first environment."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path

from common.accounts import ADMIN, Accounts, ensure_admin
from common.audit import AuditLog, Entry
from common.errors import DCloudError
from common.ledger import Ledger
from common.tokens import id_of
from deploy import demo, engine, host, redis_server, services
from deploy.installation import Installation, private_write
from deploy.steps import explain, step

# What the worker needs of the host, and the packages that bring it. Base images are Debian's on a machine that is
# Ubuntu's too; mmdebstrap finds the keys for them with gpg.
NEEDED = {
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "gpg": "gpg",
    "iptables": "iptables",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
}


def main() -> int:
    """Bring everything up and show that it works; the exit status."""
    return status_of(bring_up, "make run")


def status_of(work: Callable[[Installation], None], command: str) -> int:
    """Do the work of `command` for the installation of this checkout, and say what stopped it; the exit status."""
    installation = Installation.here()
    try:
        with installation.held():
            work(installation)
    except DCloudError as error:
        explain(error)
        return 1
    except KeyboardInterrupt:
        print(f"\nInterrupted. `{command}` goes on from here, `make stop` ends what runs.", file=sys.stderr)
        return 130
    return 0


def bring_up(installation: Installation) -> None:
    """Let the engine, Redis, the services and the example run. What runs already is left as it is."""
    prepare_host(installation)
    with step("Redis") as under_way:
        address, under_way.found = _redis(installation)
        installation.save(variables(installation, address))
    with step("DCloud") as under_way:
        _admin(installation)
        under_way.found = services.ensure(installation)
    demo.run(installation)


def prepare_host(installation: Installation) -> None:
    """Let the host have the packages and the engine that a worker needs."""
    with step("Host packages") as under_way:
        missing = host.packages_for(NEEDED)
        host.install(missing, installation.setup_log)
        under_way.found = f"installed {', '.join(missing)}" if missing else "all there already"
    with step("Docker engine") as under_way:
        under_way.found = engine.ensure(installation.processes, installation.setup_log)


def _redis(installation: Installation) -> tuple[str, str]:
    given, known = os.environ.get("DCLOUD_REDIS_URL", ""), installation.saved().get("DCLOUD_REDIS_URL", "")
    if not given and known and not redis_server.is_ours(installation.var):
        given = known
    if given:
        redis_server.wait_until_it_answers(given, timeout_seconds=5)
        return given, "the one that DCLOUD_REDIS_URL names"
    bind = wanted(installation).get("DCLOUD_REDIS_BIND", "")
    return redis_server.ensure(installation.processes, installation.var, known, bind)


def wanted(installation: Installation) -> dict[str, str]:
    """The settings of the last start, the caller's in their place; one that the caller empties has its default."""
    saved = installation.saved()
    if saved.get("DCLOUD_DATA_DIR") == f"{saved.get('DCLOUD_VAR_DIR')}/data":
        del saved["DCLOUD_DATA_DIR"]  # nobody chose it, and it moves with `var`
    theirs = {name: value for name, value in os.environ.items() if name.startswith("DCLOUD_")}
    return {name: value for name, value in {**saved, **theirs}.items() if value}


def variables(installation: Installation, redis_url: str) -> dict[str, str]:
    """What the processes run with: what is wanted, and what was decided here."""
    given = wanted(installation)
    data = given.get("DCLOUD_DATA_DIR") or str(installation.var / "data")
    decided = {"DCLOUD_REDIS_URL": redis_url, "DCLOUD_VAR_DIR": str(installation.var)}
    return {**given, **decided, "DCLOUD_DATA_DIR": str(Path(data).expanduser().resolve())}


def _admin(installation: Installation) -> None:
    """Keep a token of the admin where the command line finds it; a lost one is replaced.

    Not where other admins have disabled that account: then there is none to keep.
    """
    ledger = Ledger.connect(installation.settings())
    accounts = Accounts(ledger.redis, ledger.keys)
    if accounts.exists(ADMIN) and accounts.user(ADMIN).disabled:
        installation.token_file.unlink(missing_ok=True)
        return
    kept = installation.token_file.read_text().strip() if installation.token_file.exists() else ""
    if accounts.verify(kept) is None:
        token = ensure_admin(ledger.redis, ledger.keys) or accounts.create_token(ADMIN, label="make run")
        private_write(installation.token_file, token + "\n")
        audit = AuditLog(ledger.redis, ledger.keys, installation.var / "log")
        audit.write(Entry("make run", getpass.getuser(), ADMIN, details={"token": id_of(token)}))


if __name__ == "__main__":
    sys.exit(main())
