"""What every kind of storage holds to. Quotas are tested where the tests' data lie on XFS with project quotas."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lab import Lab

from common.settings import Settings
from workers.mounts import file_system_of, mounted, run
from workers.provision import Host
from workers.volumes import USER, Volume, Volumes

MIB = 2**20
# what is there once a volume is made, and what it was before its last step
LAST_STEPS = {"loop": ("storage.img", "storage.new"), "quota": ("project", "project.new")}

PROGRAM = """
import array, ctypes, fcntl, os
libc = ctypes.CDLL(None, use_errno=True)
file = os.open("own", os.O_RDWR | os.O_CREAT)
here = os.open(".", os.O_RDONLY)
for on, request in ((file, 0x401C5820), (here, 0x40086602), (here, 0x40046602)):  # FSSETXATTR, SETFLAGS of both widths
    for above in (0, 1 << 32):  # the kernel does not look there
        words = map(ctypes.c_long, (16, on, request | above))
        print(hex(request), libc.syscall(*words, ctypes.create_string_buffer(64)), ctypes.get_errno())
fcntl.ioctl(file, 0x541B, array.array("i", [0]))  # FIONREAD
print("others 0")
"""


@pytest.fixture(scope="module", params=["loop", "quota"])
def kind(request: pytest.FixtureRequest, settings: Settings) -> str:
    name = str(request.param)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    volumes = Volumes(replace(settings, storage=name))
    if name == "quota" and volumes.storage() is None:
        pytest.skip(f"this machine has no XFS project quotas for the tests' data: {' '.join(volumes.missing())}")
    return name


@pytest.fixture
def volumes(kind: str, settings: Settings) -> Iterator[Volumes]:
    made = Volumes(replace(settings, storage=kind, host_name=f"{settings.host_name}-storage"))
    yield made
    for env_id in made.all():
        made.remove(env_id)


@pytest.fixture
def env_id() -> str:
    return f"t{secrets.token_hex(6)}"


def write(path: Path, mib: int) -> bool:
    """Whether the environment's user can write so much."""
    command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--bounding-set=-all", "--"]
    command += ["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={mib}", "conv=fsync"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0 or "No space left on device" in done.stderr
    return done.returncode == 0


@pytest.fixture
def open_way(volumes: Volumes) -> Iterator[None]:
    """The environment's user may go to the volumes from outside, as its container's mounts let it from inside."""
    volumes.directory.mkdir(exist_ok=True)
    chain = [path for path in (volumes.directory, *volumes.directory.parents) if not path.stat().st_mode & 1]
    modes = {path: path.stat().st_mode for path in chain}
    for path in chain:
        path.chmod(path.stat().st_mode | 0o001)
    yield
    for path, mode in modes.items():
        path.chmod(mode)


def enter(volume: Volume) -> Volume:
    volume.directory.chmod(0o701)
    return volume


@pytest.mark.usefixtures("open_way")
def test_what_is_asked_for_is_a_wall_and_stands_alone(volumes: Volumes, env_id: str) -> None:
    full, other = enter(volumes.open(env_id, 64)), enter(volumes.open(f"{env_id}-b", 64))
    assert not write(full.workspace / "big", 100)
    assert 40 * MIB < (full.workspace / "big").stat().st_size <= 64 * MIB
    assert not write(full.home / "more", 20), "home is behind the same wall"
    assert write(other.home / "more", 20)
    said = volumes.fill(env_id)
    assert said is not None
    assert said.writable
    assert said.share > 0.9
    assert 48 * MIB < said.size_bytes <= 64 * MIB
    assert volumes.taken_bytes() >= 60 * MIB


def test_empty_files_end_somewhere(volumes: Volumes, env_id: str) -> None:
    volume = volumes.open(env_id, 16)
    with pytest.raises(OSError, match="No space left"):  # noqa: PT012
        for number in range(20_000):
            (volume.workspace / str(number)).touch()
    said = volumes.fill(env_id)
    assert said is not None
    assert said.used_bytes < said.size_bytes / 2
    assert said.share > 0.9  # all the same: nothing more can be written


@pytest.mark.usefixtures("open_way")
def test_it_grows_and_its_files_stay(volumes: Volumes, env_id: str) -> None:
    volume = enter(volumes.open(env_id, 32))
    (volume.workspace / "file").write_text("mine")
    assert not write(volume.workspace / "big", 60)
    volumes.close(env_id)
    assert volumes.fill(env_id) is None
    volumes.open(env_id, 96)
    assert write(volume.workspace / "big", 60)
    assert (volume.workspace / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", ["loop"], indirect=True)
def test_growth_that_was_cut_off_goes_on(volumes: Volumes, env_id: str) -> None:
    """A power cut while the file system grows leaves this inode half written, which e2fsck asks an operator about."""
    volume = volumes.open(env_id, 32)
    (volume.workspace / "file").write_text("mine")
    volumes.close(env_id)
    image = volume.directory / "storage.img"
    run("debugfs", "-w", "-R", "clri <7>", image)
    with pytest.raises(subprocess.CalledProcessError, match="status 4"):
        run("e2fsck", "-f", "-p", image)
    assert volumes.open(env_id, 96) == volume
    assert (volume.workspace / "file").read_text() == "mine"
    said = volumes.fill(env_id)
    assert said is not None
    assert said.size_bytes > 80 * MIB


def test_it_is_mounted_without_devices_and_set_user_ids(volumes: Volumes, env_id: str) -> None:
    mount = volumes.open(env_id, 32).directory / "mount"
    assert {"nosuid", "nodev"} <= set(run("findmnt", "-n", "-o", "OPTIONS", mount).strip().split(","))


def test_after_a_reboot_it_is_found_and_mounted_again(volumes: Volumes, env_id: str) -> None:
    volume = volumes.open(env_id, 32)
    (volume.workspace / "file").write_text("mine")
    run("umount", volume.directory / "mount")  # as the machine would
    assert volumes.all() == [env_id]
    assert volumes.open(env_id, 32) == volume
    assert (volume.workspace / "file").read_text() == "mine"
    assert volumes.open(env_id, 32) == volume
    volumes.close(env_id)
    assert not mounted(volume.directory / "mount")


def test_what_a_power_cut_leaves_empty_loses_nothing(volumes: Volumes, env_id: str) -> None:
    """What was written in the last seconds may be files without content, whatever their names."""
    volume = volumes.open(env_id, 32)
    (volume.workspace / "file").write_text("mine")
    volumes.close(env_id)
    for name in ("owner.json", "size_mib"):
        (volume.directory / name).write_text("")
    assert volumes.mine(env_id)
    assert volumes.open(env_id, 16) == volume
    assert (volume.workspace / "file").read_text() == "mine"
    assert volumes.all() == [env_id]
    volumes.close(env_id)
    (volume.directory / "size_mib").unlink()
    assert volumes.open(env_id, 16) == volume
    said = volumes.fill(env_id)
    assert said is not None
    assert said.size_bytes > 16 * MIB or "quota" in str(volumes.storage()), "nothing was cut off"


def test_what_was_only_begun_is_made_again_or_removed(volumes: Volumes, env_id: str, kind: str) -> None:
    for last in (lambda: volumes.open(env_id, 32), lambda: volumes.remove(env_id)):
        directory = volumes.open(env_id, 32).directory
        volumes.close(env_id)
        done, begun = LAST_STEPS[kind]
        (directory / done).rename(directory / begun)
        last()
    assert not directory.exists()


def test_nothing_stays(volumes: Volumes, env_id: str, kind: str, settings: Settings) -> None:
    def limits() -> set[str]:
        if kind == "loop":
            return {str(path) for path in Path("/sys/block").glob("loop*/loop")}
        point, _, _ = file_system_of(settings.data_dir)
        return set(run("xfs_quota", "-x", "-c", "report -p -n -N -b", point).split("\n"))

    before = limits()
    volume = volumes.open(env_id, 32)
    (volume.workspace / "elsewhere").symlink_to("/etc")
    (volume.workspace / "deep").mkdir()
    (volume.workspace / "deep" / "file").write_text("x")
    assert limits() != before
    volumes.remove(env_id)
    volumes.remove(env_id)
    assert not volume.directory.exists()
    assert {line for line in limits() - before if " 0          0          0" not in line} == set()
    assert Path("/etc/hostname").exists()


@pytest.fixture(scope="module")
def inside(kind: str, settings: Settings) -> Iterator[Lab]:
    host = Host(replace(settings, storage=kind))
    lab = Lab(host)
    yield lab
    lab.clear()
    host.teardown()
    host.close()


def test_an_environment_meets_the_wall_and_cannot_step_around_it(inside: Lab, kind: str) -> None:
    job = inside.start(storage="64MiB")
    assert inside.host.inventory().storage_limit == kind
    said = inside.python(job, PROGRAM).splitlines()
    assert said[-1] == "others 0"
    if kind == "quota":  # in the other kind there is nothing to gain by it
        assert {tuple(line.split()[1:]) for line in said[:-1]} == {("-1", "1")}, said
    assert inside.run(job, "dd", "if=/dev/zero", "of=/workspace/big", "bs=1M", "count=200")[0] != 0
    assert int(inside.run(job, "stat", "-c", "%s", "/workspace/big")[1]) <= 64 * MIB
    assert inside.run(job, "sh", "-c", "head -c 1000000 /dev/zero > ~/more")[0] != 0
    facts = dict(line.split(":\t") for line in inside.run(job, "cat", "/proc/self/status")[1].splitlines())
    assert facts["Seccomp"] == "2"


def test_libraries_that_a_user_adds_are_behind_the_wall(inside: Lab) -> None:
    job = inside.start(storage="64MiB")
    code, said = inside.run(
        job, "sh", "-c", "head -c 200M /dev/zero > $VIRTUAL_ENV/big; touch $VIRTUAL_ENV/x; ls -l $VIRTUAL_ENV/big"
    )
    assert int(said.splitlines()[-1].split()[4]) <= 64 * MIB, (code, said)
