"""Preparing a base image: what every one of them has, however it came here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from common.errors import ProvisionError
from common.states import Reason
from workers.engine import Engine, EngineError
from workers.execution import Exec
from workers.mirror import EXACT, missing_packages
from workers.recipes import Recipe
from workers.sources import Sources
from workers.standalone import HOME

BASE = "dcloud.base"  # label: the recipe's key
VERSION = "dcloud.python"  # label: the interpreter's full version
INTERPRETER = "dcloud.interpreter"  # label: its path

LAYERS = "/opt/dcloud"
PIECE_BYTES = 4 << 20
ENDING_SECONDS = 60.0

# Run as root in a fresh base image. Adds the user, and takes away what could be run with another's rights.
PREPARE = f"""
if ! grep -q '^[^:]*:[^:]*:1000:' /etc/passwd; then
    echo 'user:x:1000:1000:user:/home/user:/bin/bash' >> /etc/passwd
    grep -q '^[^:]*:[^:]*:1000:' /etc/group || echo 'user:x:1000:' >> /etc/group
fi
mkdir -p /home/user /workspace {LAYERS}/layers /etc/dcloud
chown 1000:1000 /home/user /workspace
rm -f /etc/apt/apt.conf.d/99mmdebstrap
find / -xdev -type f -perm /6000 -exec chmod a-s {{}} +
"""
# Run as root with the packages that the image has to have as arguments; apt is there only in pulled ones.
ADD_PACKAGES = f"""
missing=
for name; do
    dpkg-query -Wf '${{db:Status-Status}}' "$name" 2>/dev/null | grep -qx installed || missing="$missing $name"
done
[ -n "$missing" ] || exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -qy --no-install-recommends -o {EXACT} $missing
rm -rf /var/lib/apt/lists/*
"""
# Run as root after a build of Python was unpacked. It is read-only later, so what it compiles it compiles now.
ADD_PYTHON = f"""
for name in python3 python; do ln -sf {HOME}/bin/python3 /usr/local/bin/$name; done
cd {HOME}/bin
[ -e python3 ] || ln -s "$(ls -d python3.[0-9]* | grep -v config | head -1)" python3
{HOME}/bin/python3 -I -m compileall -q -j 0 --invalidation-mode unchecked-hash {HOME}/lib || true
"""
PROBE = "import json, platform, sys; print(json.dumps([platform.python_version(), sys.executable]))"


def prepare(
    engine: Engine,
    sources: Sources,
    recipe: Recipe,
    source: str,
    wanted: Sequence[str],
    python: Path | None,
    log: Callable[[str], None],
) -> None:
    """Make the image that is kept out of `source`, with the packages that are `wanted` and a build of Python.

    `python` is a tar file of it, None where `source` has the right one. Raises ProvisionError.
    """
    declared = ((engine.image(source) or {}).get("Config") or {}).get("Volumes")
    if declared:
        # the engine would give every environment an unlimited directory of the host for each
        raise ProvisionError(
            Reason.IMAGE_UNAVAILABLE, f"{source} declares volumes ({', '.join(declared)}), which have no limit."
        )
    try:
        with _container(engine, recipe, source, network="default" if wanted else "none") as container_id:

            def run(*command: str) -> str:
                return _said(engine, sources, container_id, *command)

            if wanted:
                for line in run("sh", "-euc", ADD_PACKAGES, "-", *wanted).splitlines():
                    log(line)
            if python:
                engine.put(container_id, "/opt", pieces(python, lambda _: None))
                run("sh", "-euc", ADD_PYTHON)
            run("sh", "-euc", PREPARE)
            # no link to it elsewhere: a virtual environment looks for the library beside what it was made of
            found = run(f"{HOME}/bin/python3" if python else "python3", "-I", "-c", PROBE)
            version, interpreter = json.loads(found)
            labels = {BASE: recipe.key, VERSION: version, INTERPRETER: interpreter}
            env = ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"]
            config = {"Labels": labels, "Env": env, "User": "1000:1000", "Cmd": ["bash"]}
            engine.commit(container_id, recipe.tag, config)
    except EngineError as error:
        raise missing_packages(recipe, str(error)) or ProvisionError(
            Reason.IMAGE_UNAVAILABLE, f"{recipe.title} could not be prepared.", str(error)
        ) from error


@contextmanager
def _container(engine: Engine, recipe: Recipe, image: str, network: str) -> Iterator[str]:
    # Its labels and variables would become the image's, hence every environment's: it has none.
    config = {
        "Image": image,
        "User": "0:0",
        "Entrypoint": [""],  # the image's own is not run
        "Cmd": ["sleep", "3600"],
        "HostConfig": {"Init": True, "AutoRemove": True, "NetworkMode": network},
    }
    name = f"dcloud-preparing-{recipe.key}"
    engine.remove(name)  # of a process that was killed; the lock is ours
    container_id = engine.create(config, name)
    try:
        engine.start(container_id)
        yield container_id
    finally:
        engine.remove(container_id)


def _said(engine: Engine, sources: Sources, container_id: str, *command: str) -> str:
    proxies = {k: v for k, v in sources.builder_env.items() if k.lower().endswith("_proxy")}
    running = Exec(engine, container_id, command, stdin=False, env=proxies)
    try:
        output = b"".join(iter(running.read, b"")).decode(errors="replace")
        failed = running.wait(ENDING_SECONDS) != 0  # its output has ended
    finally:
        running.close()
    if failed:
        raise EngineError(f"{command[0]} failed: {output[-2000:]}")
    return output


def pieces(archive: Path, at: Callable[[float], None]) -> Iterator[bytes]:
    """A file in pieces, saying which fraction of it was read."""
    size = max(1, archive.stat().st_size)
    with archive.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
            at(file.tell() / size)
