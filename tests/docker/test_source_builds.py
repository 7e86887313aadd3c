"""Libraries without wheels: refused, or built where nothing is to be reached, if the operator allows it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lab import Heard, Lab
from trees import hashes
from wheels import index, wheel

from common.errors import ProvisionError
from common.settings import Settings
from common.states import Reason
from workers.builders import BUILD
from workers.engine import BUILDER
from workers.provision import Host

# A build backend of its own: the code that is run is the library's.
BACKEND = '''
import os, zipfile

def seen():
    """What somebody's code finds of this host, and what it can leave."""
    found = [top for top in ("/opt/dcloud/cache", "/opt/dcloud/store", "/opt/dcloud/built") if os.path.exists(top)]
    found += [name for name in os.listdir("/sys/class/net") if name.startswith("dcl-")]  # the host's network
    found += [f"layer {name}" for name in os.listdir("/opt/dcloud/layers")]
    for directory in ("/opt/dcloud", "/opt/dcloud/layers", "/usr/local", "/opt"):
        try:
            open(os.path.join(directory, "left"), "w")
            found.append(f"wrote {directory}")
        except OSError:
            pass
    return found

def build_wheel(directory, config_settings=None, metadata_directory=None):
    if os.environ.get("FAIL") or NAME == "broken":
        raise SystemExit("no compiler here")
    name = f"{NAME}-1.0-py3-none-any.whl"
    info = f"{NAME}-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        archive.writestr(f"{NAME}.py", f"seen = {seen()!r}\\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: 1.0\\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nTag: py3-none-any\\n")
        archive.writestr(f"{info}/RECORD", "")
    return name
'''
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def source(directory: Path, name: str) -> None:
    """A source distribution that builds itself."""
    files = {
        "pyproject.toml": f'{PROJECT}[project]\nname = "{name}"\nversion = "1.0"\n',
        "backend.py": f"NAME = {name!r}\n{BACKEND}",
        "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: 1.0\n",
    }
    directory.mkdir(parents=True)
    with tarfile.open(directory / f"{name}-1.0.tar.gz", "w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.fixture
def at(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Lab]]:
    """A host with an index of sources, and what its operator says about them."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    tmp_path.chmod(0o755)
    simple = tmp_path / "simple"
    wheel(simple / "pip", "pip", "25.0")
    wheel(simple / "plain", "plain", "1.0")
    source(simple / "sourced", "sourced")
    source(simple / "broken", "broken")
    index(simple)
    labs: list[Lab] = []

    def make(source_builds: str) -> Lab:
        own = replace(
            settings, index_url=simple.as_uri(), data_dir=tmp_path / "data", host_name="sources",
            source_builds=source_builds, torch_index="",
        )  # fmt: skip
        labs.append(Lab(Host(own)))
        return labs[-1]

    yield make
    for lab in labs:
        lab.clear()
        lab.host.builders.close()
        lab.host.close()


def test_wheels_only_unless_it_is_allowed(at: Callable[[str], Lab]) -> None:
    lab = at("")
    with pytest.raises(ProvisionError) as caught:
        lab.host.start(lab.job("sourced"), Heard())
    assert caught.value.reason == Reason.LIBRARIES_UNRESOLVABLE


def test_built_where_there_is_nothing_to_be_reached(at: Callable[[str], Lab]) -> None:
    lab, heard = at("yes"), Heard()
    lab.host.remove(lab.start("plain").id)
    store = lab.host.store.root
    before = {top: hashes(store / top) for top in ("layers", "cache")}
    job = lab.job("sourced", "plain")
    lab.host.start(job, heard)
    assert "sourced==1.0 has no wheel; building it from source" in heard.lines
    assert lab.python(job, "import plain, sourced; print(sourced.seen)") == "[]"
    after = {top: hashes(store / top) for top in ("layers", "cache")}
    for top, trees in before.items():  # more came, nothing of what was there is another
        assert {path: value for path, value in after[top].items() if path in trees} == trees
    (built,) = store.glob("built/*")
    assert built.name in heard.lock  # by its hash, as any other
    assert [row for row in lab.host.engine.containers(BUILDER) if BUILD in row["HostConfig"]["Tmpfs"]] == []
    # and once: the lock names the wheel
    again, said = lab.job(), Heard()
    again = replace(again, contract=replace(again.contract, lock=heard.lock))
    lab.host.start(again, said)
    assert not any("building it" in line for line in said.lines)


def test_one_that_cannot_be_built(at: Callable[[str], Lab]) -> None:
    lab, heard = at("yes"), Heard()
    with pytest.raises(
        ProvisionError, match=r"broken==1\.0 has no wheel and could not be built.*os\.packages"
    ) as caught:
        lab.host.start(lab.job("broken"), heard)
    assert caught.value.reason == Reason.LIBRARIES_NOT_INSTALLED
    assert any("no compiler here" in line for line in heard.lines)
    assert [row for row in lab.host.engine.containers(BUILDER) if BUILD in row["HostConfig"]["Tmpfs"]] == []
