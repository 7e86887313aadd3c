"""The flow from a job to a container: bad libraries, many at once, crashes, and what is left after the end."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from lab import Heard, Lab, again

from common.errors import NotFound, ProvisionError, StaleToken
from common.settings import Settings
from common.states import Phase, Reason
from workers import builders
from workers.engine import BUILDER
from workers.filelocks import held
from workers.layers import _COMPILER
from workers.provision import Host
from workers.volumes import USER


class CalledOff(Heard):
    """A report that ends the flow when it hears a word."""

    def __init__(self, word: str):
        super().__init__()
        self.word = word

    def phase(self, phase: Phase, fraction: float, message: str) -> None:
        super().phase(phase, fraction, message)
        if self.word in message and (fraction > 0 or phase is Phase.STORAGE):
            raise StaleToken("called off")

    def starting(self) -> None:
        if self.word == "starting":
            raise StaleToken("called off")


def left(host: Host, env_id: str) -> list[str]:
    """Traces of an environment, once the kernel has let go of what was unmounted.

    A container that starts at the same moment holds a copy of all mounts for a blink.
    """
    for _ in range(50):
        if not any("loop" in line for line in traces(host, env_id)):
            break
        time.sleep(0.1)
    return traces(host, env_id)


def traces(host: Host, env_id: str) -> list[str]:
    """Everything on this machine that bears an environment's id."""
    said = [
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for command in (
            ["docker", "ps", "-a", "--format", "{{.Names}} {{.Labels}}"],
            ["docker", "volume", "ls", "--format", "{{.Name}}"],
            ["losetup", "--all", "--noheadings"],
        )
    ]
    said.append(Path("/proc/self/mountinfo").read_text())
    said += [str(path) for path in host.settings.data_dir.glob("volumes/*")]
    return [line for text in said for line in text.splitlines() if env_id in line]


def test_remove_leaves_nothing(lab: Lab) -> None:
    job = lab.start()
    assert len(traces(lab.host, job.id)) >= 5  # container, volume, loop device, mounts, directory
    lab.host.remove(job.id)
    assert left(lab.host, job.id) == []
    lab.host.remove(job.id)
    lab.host.stop(job.id)


def test_stop_keeps_the_file_alone(lab: Lab) -> None:
    job = lab.start()
    lab.host.stop(job.id)
    lab.host.stop(job.id)
    assert left(lab.host, job.id) == [str(lab.host.volumes_.get(job.id).directory)]
    assert job.id in lab.host.volumes()


def test_progress_moves_through_all_phases(lab: Lab) -> None:
    job, heard = lab.job("six"), Heard()
    lab.host.start(job, heard)
    phases = list(dict.fromkeys(phase for phase, *_ in heard.phases))
    assert phases == [Phase.IMAGE, Phase.LIBRARIES, Phase.STORAGE]
    assert heard.started
    for phase in phases:
        fractions = [fraction for p, fraction, _ in heard.phases if p is phase]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1


def test_a_library_that_does_not_exist(lab: Lab) -> None:
    heard = Heard()
    with pytest.raises(ProvisionError) as caught:
        lab.host.start(lab.job("no-such-library-anywhere"), heard)
    assert caught.value.reason == Reason.LIBRARIES_UNRESOLVABLE
    assert "no-such-library-anywhere" in str(caught.value)
    assert "not found" in str(caught.value)
    assert any("no-such-library-anywhere" in line for line in heard.lines)


def test_libraries_that_cannot_be_together(lab: Lab) -> None:
    with pytest.raises(ProvisionError) as caught:
        lab.host.start(lab.job("numpy<2", "numpy>=2"), Heard())
    assert caught.value.reason == Reason.LIBRARIES_UNRESOLVABLE
    assert str(caught.value).startswith("Because this-contract depends on numpy<2 and numpy>=2")


def test_a_python_that_the_system_does_not_have(lab: Lab) -> None:
    from dataclasses import replace

    job = lab.job()
    contract = replace(job.contract, language=replace(job.contract.language, version="3.7"))
    with pytest.raises(ProvisionError, match=r"no Python 3\.7 for Debian 12") as caught:
        lab.host.start(replace(job, contract=contract), Heard())
    assert caught.value.reason == Reason.IMAGE_UNAVAILABLE


def test_four_starts_of_one_new_layer_install_it_once(lab: Lab) -> None:
    libraries = ("numpy", "attrs<99.7", "iniconfig")
    first = lab.start(*libraries)
    key = lab.python(first, "import sys; print(sys.prefix)").split("/")[-1]
    lab.host.remove(first.id)
    (lab.host.settings.data_dir / "layers" / f"{key}.json").unlink()
    lab.host.builders.close()  # all four make theirs, so that they arrive together
    jobs, reports = [lab.job(*libraries) for _ in range(4)], [Heard() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lab.host.start, jobs, reports))
    installs = sum(line.startswith("Installed ") for report in reports for line in report.lines)
    assert installs == 1
    assert {lab.python(job, "import attr, iniconfig, numpy; print('ok')") for job in jobs} == {"ok"}


def test_a_host_without_anything_yet(settings: Settings, tmp_path: Path) -> None:
    """Nothing in the store: wheels are fetched and compiled, and the bar moves with it."""
    fresh = Host(replace(settings, data_dir=tmp_path / "data", host_name="fresh"))
    lab, heard = Lab(fresh), Heard()
    try:
        job = lab.job("numpy")
        fresh.start(job, heard)
        assert lab.python(job, "import numpy; print(numpy.__name__)") == "numpy"
        said = [message for phase, _, message in heard.phases if phase is Phase.LIBRARIES]
        assert any(message.startswith("Compiling libraries: ") for message in said)
        assert any(line.startswith("Prepared 2 packages") for line in heard.lines)
        fractions = [fraction for phase, fraction, _ in heard.phases if phase is Phase.LIBRARIES]
        assert fractions == sorted(fractions)
        assert len(set(fractions)) > 5
        tree = next((tmp_path / "data/store/layers").iterdir())
        compiled = list(tree.rglob("*.pyc"))
        assert len(compiled) > 100
        assert all(path.stat().st_nlink == 2 for path in compiled)  # shared with the cache, and compiled once
    finally:
        lab.clear()
        fresh.builders.close()
        fresh.close()


def test_what_another_installation_compiles_meanwhile_is_linked_too(settings: Settings, tmp_path: Path) -> None:
    """Two new layers share wheels: each is compiled once, and both layers have the compiled files."""
    fresh = Host(replace(settings, data_dir=tmp_path / "data", host_name="fresh"))
    lab, heard = Lab(fresh), Heard()
    job, thread = lab.job("six"), ThreadPoolExecutor(1)
    try:
        marks = tmp_path / "data/compiled" / f"python-3.11-{_COMPILER}"
        with held(tmp_path / "data/locks" / f"compile-{marks.name}"):
            started = thread.submit(fresh.start, job, heard)
            while not any("compiled for another" in message for *_, message in heard.phases):
                assert not started.done(), heard.lines
                time.sleep(0.1)
            for archive in (tmp_path / "data/store/cache/python-3.11/archive-v0").iterdir():
                (archive / "compiled_elsewhere.pyc").touch()
                os.chown(archive / "compiled_elsewhere.pyc", USER, USER)
                (marks / archive.name).touch()
        started.result()
        assert any("compiled for another" in message for *_, message in heard.phases)
        assert not any("Compiling" in message for *_, message in heard.phases)
        assert list((tmp_path / "data/store/layers").glob("*/lib/*/site-packages/compiled_elsewhere.pyc"))
    finally:
        thread.shutdown()
        lab.clear()
        fresh.builders.close()
        fresh.close()


def test_a_builder_has_its_own_walls(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel may hold a thousand times its size: what it unpacks ends before the disk does, and its compiler's RAM."""
    lab.host.remove(lab.start("six").id)
    for path in lab.host.resolutions.directory.iterdir():
        path.unlink()
    lab.host.remove(lab.start("six").id)
    (builder, *_) = lab.host.engine.containers(BUILDER)
    assert 0 < builder["HostConfig"]["MemorySwap"] == builder["HostConfig"]["Memory"]
    for path in lab.host.resolutions.directory.iterdir():
        path.unlink()
    monkeypatch.setattr(builders, "FREE_BYTES", 1 << 60)
    with pytest.raises(ProvisionError, match="no room for these libraries") as caught:
        lab.start("six")
    assert caught.value.reason == Reason.LIBRARIES_NOT_INSTALLED


def test_what_a_power_cut_may_have_left_empty_is_made_again(lab: Lab) -> None:
    """A layer of known wheels is sealed before its own files are on the disk, and trusted until the machine starts."""
    key = ""
    for _ in range(2):  # the second is nothing but links, and is waited for by nobody
        job = lab.start("six")
        key = lab.python(job, "import sys; print(sys.prefix)").split("/")[-1]
        lab.host.remove(job.id)
        seal = lab.host.settings.data_dir / "layers" / f"{key}.json"
        values = json.loads(seal.read_text())
        seal.unlink()
    seal.write_text(json.dumps({**values, "boot": "the one before"}))
    tree = lab.host.builders.store / "layers" / key
    (tree / "pyvenv.cfg").write_text("")
    job = lab.start("six")
    assert lab.python(job, "import six; print(six.__name__)") == "six"
    assert (tree / "pyvenv.cfg").read_text()
    assert values["boot"] == json.loads(seal.read_text())["boot"] != ""
    lab.host.store.seals.settle(lab.host.store.root)
    assert json.loads(seal.read_text())["boot"] == ""


def test_a_tree_without_a_seal_is_made_again(lab: Lab) -> None:
    job = lab.start("six")
    key = lab.python(job, "import sys; print(sys.prefix)").split("/")[-1]
    lab.host.remove(job.id)
    tree = lab.host.builders.store / "layers" / key
    (lab.host.settings.data_dir / "layers" / f"{key}.json").unlink()
    (tree / "lib/python3.11/site-packages/six.py").unlink()
    job = lab.start("six")
    assert lab.python(job, "import six; print(six.__name__)") == "six"


@pytest.mark.parametrize("word", ["Resolving", "Making the storage", "starting"])
def test_called_off_in_the_middle(lab: Lab, word: str) -> None:
    job = lab.job("six", "certifi")
    lab.host.builders.close()
    if word == "Resolving":
        for path in lab.host.resolutions.directory.iterdir():
            path.unlink()
    with pytest.raises(StaleToken):
        lab.host.start(job, CalledOff(word))
    if word != "Resolving":
        lab.host.builders.close()  # those that did their work wait for more
    assert lab.host.engine.containers(BUILDER) == []
    assert [c for c in lab.host.containers() if c.env_id == job.id] == []
    lab.host.remove(job.id)
    assert left(lab.host, job.id) == []


def test_a_builder_that_vanished_is_made_again(lab: Lab) -> None:
    for _ in range(2):
        for path in lab.host.resolutions.directory.iterdir():
            path.unlink()
        lab.start("six")
        builders = lab.host.engine.containers(BUILDER)
        assert len(builders) == 1
        lab.host.engine.remove(builders[0]["Id"])


def test_the_same_token_adopts_and_a_newer_one_replaces(lab: Lab) -> None:
    job = lab.job()
    first = lab.host.start(job, Heard())
    assert lab.host.start(job, Heard()) == first
    lab.host.engine.stop(first, 0)
    assert lab.host.start(job, Heard()) == first
    second = lab.host.start(again(job), Heard())
    assert second != first
    (found,) = [c for c in lab.host.containers() if c.env_id == job.id]
    assert (found.container_id, found.token, found.running, found.exit_code) == (second, 2, True, None)
    with pytest.raises(StaleToken):
        lab.host.start(job, Heard())


def test_another_host_of_this_machine_takes_over(lab: Lab, host: Host) -> None:
    """The environment of a host that was given up goes to another; what the first does later changes nothing."""
    from dataclasses import replace

    job = lab.start()
    lab.run(job, "sh", "-c", "echo mine > file")
    heir = Lab(Host(replace(host.settings, host_name="heir")))
    try:
        heir.host.start(again(job), Heard())
        assert [c.env_id for c in host.containers()] == []
        host.stop(job.id)
        host.remove(job.id)
        assert heir.run(job, "cat", "file") == (0, "mine\n")
        assert (host.volumes(), heir.host.volumes()) == ([], [job.id])
        with pytest.raises(StaleToken):
            host.start(job, Heard())
    finally:
        heir.host.remove(job.id)
        heir.host.builders.close()
        heir.host.close()
    assert left(host, job.id) == []


def test_builders_of_a_process_that_was_killed_are_removed(host: Host) -> None:
    base = host.images.get(Lab(host).job().contract, lambda *_: None, lambda _: None)
    with subprocess.Popen(["sleep", "0"]) as ended:
        pass
    config = host.builders._config(base)
    config["Labels"][BUILDER] = str(ended.pid)
    orphan = host.engine.create(config)
    Host(host.settings).close()
    assert orphan not in [row["Id"] for row in host.engine.containers(BUILDER)]


def test_what_a_crash_leaves_is_taken_up(lab: Lab, host: Host) -> None:
    job = lab.job()
    volume = host.volumes_.get(job.id)
    volume.directory.mkdir(parents=True)
    (volume.directory / "storage.new").write_bytes(b"half a file system")
    container_id = host.start(job, Heard())
    assert host.containers()[0].container_id == container_id
    # the process dies here: another one, with the same host name, finds what runs
    successor = Host(host.settings)
    assert [c.env_id for c in successor.containers()] == [job.id]
    assert successor.start(job, Heard()) == container_id
    successor.remove(job.id)
    successor.close()
    assert left(host, job.id) == []


def test_programs_are_told_to_end_before_they_are_killed(lab: Lab) -> None:
    job = lab.start()
    saves = "trap 'echo saved > /workspace/saved; exit' TERM; echo ready; while :; do sleep 0.1; done"
    defies = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    polite = lab.host.exec(job.id, ["sh", "-c", saves], tty=False)
    defiant = lab.host.exec(job.id, ["sh", "-c", defies], tty=False)
    assert (polite.read(), defiant.read()) == (b"ready\n", b"ready\n")
    began = time.monotonic()
    lab.host.stop(job.id, grace_seconds=2)
    assert 1.5 < time.monotonic() - began < 8
    polite.close()
    defiant.close()
    lab.host.start(again(job), Heard())
    assert lab.run(job, "cat", "/workspace/saved") == (0, "saved\n")
    began = time.monotonic()
    lab.host.stop(job.id, grace_seconds=10)
    assert time.monotonic() - began < 5  # where nothing resists nobody waits


def test_how_it_ended_is_told(lab: Lab) -> None:
    job = lab.start()
    (found,) = [c for c in lab.host.containers() if c.env_id == job.id]
    lab.host.engine.stop(found.container_id, 0)
    (found,) = [c for c in lab.host.containers() if c.env_id == job.id]
    assert (found.running, found.oom_killed) == (False, False)
    assert found.exit_code in (137, 143)


def test_a_terminal(lab: Lab) -> None:
    job = lab.start()
    shell = lab.host.exec(job.id, ["bash", "--norc"], tty=True)
    shell.resize(40, 100)
    shell.write(b"stty size; exit 7\n")
    output = b""
    while data := shell.read():
        output += data
    assert b"40 100" in output
    assert shell.exit_code() == 7
    shell.close()


def test_input_and_its_end(lab: Lab) -> None:
    job = lab.start()
    cat = lab.host.exec(job.id, ["sh", "-c", "cat; echo said >&2"], tty=False)
    cat.write(b"a" * 300_000)
    cat.write(b"")
    output = b""
    while data := cat.read():
        output += data
    # the engine carries both streams, each in order, and neither waits for the other
    assert output.replace(b"said\n", b"") == b"a" * 300_000
    assert output.count(b"said\n") == 1
    assert cat.exit_code() == 0
    cat.close()


def test_hanging_up_ends_the_command(lab: Lab) -> None:
    job = lab.start()
    command = lab.host.exec(job.id, ["sleep", "4242"], tty=True)
    reader = threading.Thread(target=command.read)
    reader.start()
    command.close()
    reader.join(10)
    assert not reader.is_alive()
    for _ in range(50):
        if "4242" not in lab.run(job, "ps", "-eo", "args")[1].replace("ps -eo args", ""):
            break
    else:
        pytest.fail("the command runs on")


def test_a_command_without_a_container(lab: Lab) -> None:
    with pytest.raises(NotFound, match="Start it"):
        lab.host.exec(lab.job().id, ["true"], tty=False)
    job = lab.start()
    (found,) = [c for c in lab.host.containers() if c.env_id == job.id]
    lab.host.engine.stop(found.container_id, 5)
    with pytest.raises(NotFound, match="Start it"):
        lab.host.exec(job.id, ["true"], tty=False)


def test_storage_grows_when_more_is_asked_for(lab: Lab) -> None:
    from dataclasses import replace

    job = lab.start(storage="64MiB")
    lab.run(job, "sh", "-c", "echo mine > file")
    lab.host.stop(job.id)
    bigger = replace(job.contract, resources=replace(job.contract.resources, storage_mib=256))
    lab.host.start(again(job, contract=bigger), Heard())
    size = int(lab.run(job, "df", "--output=size", "-m", "/workspace")[1].split()[-1])
    assert size > 200
    assert lab.run(job, "cat", "file") == (0, "mine\n")
