"""Base images: from a registry where one answers, from the package mirror where none does."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from docker.errors import NotFound
from lab import DATA, Heard, Lab

from common.contract import Image
from common.environment import Job
from common.errors import ProvisionError
from common.settings import Settings
from common.states import Phase, Reason
from workers.provision import Host

CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error}}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real registry, empty, at an address of this machine."""
    directory = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = directory / "config.yml"
    config.write_text(CONFIG.format(root=directory / "data", port=port))
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen([registry_program(), "serve", str(config)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert server.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline, "the registry does not begin"
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def registry_program() -> str:
    """The distribution's registry, taken out of its package: installing it would start it as a service."""
    found = shutil.which("docker-registry") or str(DATA / "tools/usr/bin/docker-registry")
    if not Path(found).exists():
        tools = DATA / "tools"
        tools.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", "docker-registry"], cwd=tools, check=True, capture_output=True)
        (package,) = tools.glob("docker-registry_*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(tools)], check=True)
    return found


@pytest.fixture
def other_host(settings: Settings, tmp_path: Path) -> Iterator[Lab]:
    """A lab whose host has settings of its own; a test replaces `lab.host`."""
    lab = Lab(None)  # type: ignore[arg-type]
    yield lab
    lab.clear()
    lab.host.builders.close()
    lab.host.close()


def with_python(job: Job, version: str) -> Job:
    language = replace(job.contract.language, version=version)
    return replace(job, contract=replace(job.contract, language=language))


def forget(engine: docker.DockerClient, *tags: str) -> None:
    for tag in tags:
        if engine.images.list(tag):
            engine.images.remove(tag, force=True)


def test_an_image_is_pulled_where_a_registry_serves_it(
    engine: docker.DockerClient, lab: Lab, other_host: Lab, settings: Settings, registry: str, tmp_path: Path
) -> None:
    usual = lab.start()
    full = lab.python(usual, "import platform; print(platform.python_version())")
    source = engine.images.get(lab.inspect(usual)["Config"]["Image"])
    served = f"{registry}/python:{full}-slim-bookworm"
    source.tag(served)
    engine.images.push(f"{registry}/python", tag=f"{full}-slim-bookworm")
    engine.images.remove(served)
    other_host.host = Host(replace(settings, registry=registry, data_dir=tmp_path / "data", host_name="other"))
    job = with_python(other_host.job("six"), full)
    tag = other_host.host.catalogue.recipe_for(job.contract).tag
    forget(engine, tag)
    heard = Heard()
    try:
        other_host.host.start(job, heard)
        assert other_host.python(job, "import six; print(six.__name__)") == "six"
        assert any(message.startswith("Pulling python:") for _, _, message in heard.phases)
        assert not any("package mirror" in line for line in heard.lines)
    finally:
        other_host.clear()
        other_host.host.builders.close()
        forget(engine, tag, served)


def test_a_registry_that_does_not_have_it_is_asked_again_and_one_that_is_away_is_not(
    host: Host, settings: Settings, other_host: Lab, registry: str, tmp_path: Path
) -> None:
    other_host.host = Host(replace(settings, registry=registry, data_dir=tmp_path / "data"))
    images = other_host.host.images
    assert images.registry.answers()
    assert images.registry.pull("python:0.0-nowhere", lambda *_: None, lambda _: None) == ""
    assert list(images.directory.glob("absent-*")) == []

    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        slow = replace(settings, registry=address, registry_timeout_seconds=1.0, data_dir=tmp_path / "data")
        other_host.host.close()
        other_host.host = Host(slow)
        images = other_host.host.images
        began = time.monotonic()
        assert images.registry.pull("python:3.11-slim", lambda *_: None, said.append) == ""
        assert time.monotonic() - began < 10
        began = time.monotonic()
        assert images.registry.pull("python:3.11-slim", lambda *_: None, said.append) == ""
        assert time.monotonic() - began < 0.5
    assert len(said) == 1
    assert "No registry answers" in said[0]
    assert not images.registry.answers()
    assert {offer.os for offer in images.offers()} == {"debian"}  # what comes from a registry alone is not offered


def test_packages_that_do_not_exist(lab: Lab) -> None:
    job = lab.job()
    # the second would be an expression to apt, which many packages match
    job = replace(job, contract=replace(job.contract, packages=("no-such-package-anywhere", "g.p")))
    with pytest.raises(ProvisionError, match=r"no package g\.p, no-such-package-anywhere") as caught:
        lab.host.start(job, Heard())
    assert caught.value.reason == Reason.IMAGE_UNAVAILABLE
    assert "E: Unable to locate package" in caught.value.detail


def test_called_off_while_the_image_is_made(lab: Lab) -> None:
    class Stop(Exception):
        pass

    class Impatient(Heard):
        def phase(self, phase: Phase, fraction: float, message: str) -> None:
            super().phase(phase, fraction, message)
            if message.startswith("Setting up"):
                raise Stop

    job = lab.job()
    # a package set that no other test asks for, so that there is something to make
    job = replace(job, contract=replace(job.contract, packages=("hello",)))
    with suppress(NotFound):  # of an earlier run
        lab.host.engine._api.remove_image(lab.host.catalogue.recipe_for(job.contract).tag, force=True)
    with pytest.raises(Stop):
        lab.host.start(job, Impatient())
    making = [path.name for path in lab.host.images.directory.iterdir() if path.name.startswith("making-")]
    assert making == []
    assert str(lab.host.images.directory) not in Path("/proc/self/mountinfo").read_text()
    left = [image for image in lab.host.engine._api.images() for tag in image["RepoTags"] or () if "dcloud-raw" in tag]
    assert left == []
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"/making-{lab.host.catalogue.recipe_for(job.contract).key}/" not in processes

    # and what was asked for is really installed, once it is made
    lab.host.start(job, Heard())
    assert lab.run(job, "hello") == (0, "Hello, world!\n")


BUILD = """
set -eu
cd "$(mktemp -d)"
mkdir -p python/bin python/lib
cp /usr/bin/python3.11 python/bin/
cp -r /usr/lib/python3.11 python/lib/
find python -type l -delete  # uv takes none that leave the archive
tar cz python
"""


@pytest.fixture
def python_builds(lab: Lab, tmp_path: Path) -> Path:
    """A list of builds of Python as uv reads it, with one that was made here of Debian's."""
    job = lab.start()
    running = lab.host.exec(job.id, ["sh", "-c", BUILD], tty=False)
    archive = tmp_path / "cpython-3.11.2.tar.gz"
    archive.write_bytes(b"".join(iter(running.read, b"")))
    running.close()
    entry = {
        "name": "cpython", "arch": {"family": platform.machine(), "variant": None}, "os": "linux", "libc": "gnu",
        "major": 3, "minor": 11, "patch": 2, "prerelease": "", "variant": None, "build": "20260101",
        "url": archive.as_uri(), "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }  # fmt: skip
    builds = tmp_path / "builds.json"
    builds.write_text(json.dumps({f"cpython-3.11.2-linux-{platform.machine()}-gnu": entry}))
    return builds


CATALOGUE = """
others: ["3.11", "3.12"]
systems: {lab/os: {"1": {python: "3.13", image: "lab/os:1"}}}
"""


def test_a_python_that_the_system_does_not_ship(
    engine: docker.DockerClient,
    lab: Lab,
    other_host: Lab,
    settings: Settings,
    registry: str,
    python_builds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A system from a registry, and in it a build of Python from a mirror, with its hash checked."""
    served = f"{registry}/lab/os:1"
    engine.images.get(lab.host.catalogue.recipe_for(lab.job().contract).tag).tag(served)
    engine.images.push(f"{registry}/lab/os", tag="1")
    engine.images.remove(served)
    file = tmp_path / "catalogue.yaml"
    file.write_text(CATALOGUE)
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(python_builds))
    other_host.host = Host(
        replace(settings, registry=registry, catalogue=str(file), data_dir=tmp_path / "data", host_name="other")
    )
    job = other_host.job("six")
    job = replace(job, contract=replace(job.contract, os=Image("lab/os", "1")))
    tag = other_host.host.catalogue.recipe_for(job.contract).tag
    forget(engine, tag)
    try:
        with pytest.raises(ProvisionError, match=r"no build of Python 3\.12"):
            other_host.host.start(with_python(job, "3.12"), Heard())
        other_host.host.start(job, Heard())
        said = other_host.python(job, "import json, six, sys; print(sys.base_prefix, json.__cached__, six.__name__)")
        compiled = "/opt/python/lib/python3.11/json/__pycache__/__init__.cpython-311.pyc"
        assert said == f"/opt/python {compiled} six"
        assert other_host.run(job, "test", "-e", compiled)[0] == 0  # made with the image, as nobody can write it later
        assert [path.name for path in (tmp_path / "data/images").iterdir()] == []
    finally:
        other_host.clear()
        other_host.host.builders.close()
        forget(engine, tag, served)


def test_a_system_that_no_registry_serves(lab: Lab, settings: Settings, other_host: Lab, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    other_host.host = Host(replace(settings, registry=nobody, data_dir=tmp_path / "data", host_name="other"))
    job = other_host.job()
    job = replace(job, contract=replace(job.contract, os=Image("ubuntu", "24.04")))
    with pytest.raises(ProvisionError, match=r"none that serves ubuntu:24\.04 answers.*DCLOUD_REGISTRY") as caught:
        other_host.host.start(with_python(job, "3.12"), Heard())
    assert caught.value.reason == Reason.IMAGE_UNAVAILABLE
