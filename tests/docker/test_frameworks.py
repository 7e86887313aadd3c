"""Builds of frameworks, resolved by the real resolver from indexes of small wheels, and one of them installed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lab import Heard, Lab
from wheels import index, wheel

from common import lockfile
from common.errors import ProvisionError
from common.settings import Settings
from common.states import Reason
from workers.frameworks import Accelerator, accelerator
from workers.libraries import Told
from workers.provision import Host

NONE, OLD, NEW = accelerator(0, ""), accelerator(1, "535.54.03"), accelerator(1, "580.82.07")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with builds for CUDA, as the public one has them; indexes of torch's builds; wheels on disk."""
    root = tmp_path_factory.mktemp("places")
    root.chmod(0o755)  # builders are no root
    simple, disk = root / "simple", root / "disk"
    for name, version, needs, extras in (
        ("pip", "25.0", (), ()),
        ("lightning", "2.0", ("torch>=2",), ()),
        ("torch", "2.15.0", ("nvidia-cublas", "nvidia-cuda-runtime"), ()),
        ("nvidia-cublas", "13.4", (), ()),
        ("nvidia-cuda-runtime", "13.2", (), ()),
        ("nvidia-cublas-cu12", "12.8", (), ()),
        ("nvidia-cublas-cu12", "12.5", (), ()),
        ("tensorflow", "2.20", ('nvidia-cublas-cu12==12.5; extra == "and-cuda"',), ("and-cuda",)),
        ("tensorflow-cpu", "2.20", (), ()),
        ("tf-keras", "2.20", ("tensorflow>=2",), ()),
        ("jax", "0.5", ('jax-cuda12-plugin; extra == "cuda12"',), ("cuda12",)),
        ("jax-cuda12-plugin", "0.5", (), ()),
        ("optax", "0.2", ("jax",), ()),
    ):
        wheel(simple / name, name, version, needs, extras)
    wheel(root / "builds/cpu/torch", "torch", "2.14.0+cpu")
    wheel(root / "builds/cu128/torch", "torch", "2.14.0+cu128", ["nvidia-cublas-cu12==12.8"])
    for build in ("cpu", "cu128"):
        wheel(disk, "torch", f"2.13.0+{build}")
        index(root / "builds" / build)
    index(simple)
    return root


@pytest.fixture
def at(
    places: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Lab]]:
    """A host that takes its wheels from there, with or without torch's builds: `at(builds=True)`, `at(disk=True)`."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    labs: list[Lab] = []

    def make(builds: bool = False, disk: bool = False) -> Lab:
        if disk:
            monkeypatch.setenv("PIP_FIND_LINKS", str(places / "disk"))
        own = replace(
            settings,
            index_url=(places / "simple").as_uri(),
            torch_index=f"{(places / 'builds').as_uri()}/BUILD" if builds else "",
            data_dir=tmp_path / "data",
            host_name="frameworks",
        )
        labs.append(Lab(Host(own)))
        return labs[-1]

    yield make
    for lab in labs:
        lab.clear()
        lab.host.builders.close()
        lab.host.close()


def resolved(lab: Lab, wanted: Accelerator, *libraries: str) -> dict[str, str]:
    """Versions by name, pip left out."""
    base = lab.host.images.get(lab.job().contract, lambda *_: None, lambda _: None)
    with lab.host.builders.builder(base) as builder:
        lock = lab.host.resolutions.resolve(builder, base, libraries, wanted, lambda: None, lambda _: None)
    return {pin.name: pin.version for pin in lockfile.read(lock) if pin.name != "pip"}


def test_builds_from_an_index_for_each(at: Callable[..., Lab]) -> None:
    lab = at(builds=True)
    cpu = {"lightning": "2.0", "torch": "2.14.0+cpu"}
    assert resolved(lab, NONE, "lightning") == cpu
    cuda = {"lightning": "2.0", "torch": "2.14.0+cu128", "nvidia-cublas-cu12": "12.8"}
    assert resolved(lab, OLD, "torch", "lightning") == cuda
    assert resolved(lab, NEW, "lightning") == cuda  # the newest that there is
    # and what was resolved is installed from there
    job, heard = lab.job("lightning"), Heard()
    lab.host.start(job, heard)
    assert lab.python(job, "import torch; print(torch.__version__)") == "2.14.0+cpu"
    assert heard.warnings == []


def test_builds_on_disk(at: Callable[..., Lab]) -> None:
    lab = at(disk=True)
    assert resolved(lab, NONE, "torch") == {"torch": "2.13.0+cpu"}
    assert resolved(lab, NONE, "lightning") == {"lightning": "2.0", "torch": "2.13.0+cpu"}
    assert resolved(lab, OLD, "torch") == {"torch": "2.13.0+cu128"}
    job = lab.start("lightning")
    assert lab.python(job, "import torch; print(torch.__version__)") == "2.13.0+cpu"


def test_a_wheel_on_disk_that_was_replaced_is_another(at: Callable[..., Lab], places: Path) -> None:
    lab = at(disk=True)
    lab.start("torch")
    path = wheel(places / "disk", "torch", "2.13.0+cpu", mib=1)
    for resolution in lab.host.resolutions.directory.iterdir():
        resolution.unlink()
    job, heard = lab.job("torch"), Heard()
    lab.host.start(job, heard)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in heard.lock
    assert lab.python(job, "import os, torch; print(os.path.getsize(torch.__path__[0] + '/data') >> 20)") == "1"


def test_without_any_place_for_builds(at: Callable[..., Lab]) -> None:
    lab, heard = at(), Heard()
    with pytest.raises(ProvisionError, match=r"torch 2\.15\.0 is to be had here only as a build for CUDA") as caught:
        lab.host.start(lab.job("lightning"), heard)
    assert caught.value.reason == Reason.LIBRARIES_UNRESOLVABLE
    assert any("only as a build for CUDA" in line for line in heard.lines)
    assert not list((lab.host.builders.store / "layers").iterdir())  # nothing was fetched
    # for a GPU it will do, unless its driver is too old
    job = replace(lab.job("lightning"), gpus=("GPU-1",))
    base = lab.host.images.get(job.contract, lambda *_: None, lambda _: None)
    warnings: list[str] = []
    for wanted in (NEW, OLD):
        told = Told(lambda *_: None, lambda _: None, warnings.append)
        lab.host.libraries.layer(job, base, ("", ""), wanted, told)
    (sentence,) = set(warnings)
    assert "for CUDA 13, which driver 535.54.03 of this host does not run" in sentence


def test_the_others(at: Callable[..., Lab]) -> None:
    lab = at(builds=True)
    assert resolved(lab, NONE, "tensorflow", "tf-keras") == {"tensorflow-cpu": "2.20", "tf-keras": "2.20"}
    cuda = {"tensorflow": "2.20", "nvidia-cublas-cu12": "12.5"}
    assert resolved(lab, OLD, "tf-keras") == {**cuda, "tf-keras": "2.20"}
    assert resolved(lab, NONE, "optax") == {"jax": "0.5", "optax": "0.2"}
    assert resolved(lab, OLD, "optax") == {"jax": "0.5", "jax-cuda12-plugin": "0.5", "optax": "0.2"}


def test_torch_and_tensorflow(at: Callable[..., Lab]) -> None:
    lab = at(builds=True)
    assert resolved(lab, NONE, "torch", "tensorflow") == {"torch": "2.14.0+cpu", "tensorflow-cpu": "2.20"}
    with pytest.raises(ProvisionError, match="tensorflow and torch cannot be had together for a GPU here") as caught:
        resolved(lab, OLD, "torch", "tensorflow")
    assert "12.8" in str(caught.value)  # and why
