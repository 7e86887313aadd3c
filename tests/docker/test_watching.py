"""What happens to an environment is told at once: exits, want of RAM, full storage, a pause; and what it uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from docker import DockerClient
from lab import Heard, Lab
from test_worker import Site, site

from common.environment import Event
from common.ledger import Ledger
from common.states import Reason, State
from common.stats import Stats
from workers.endings import Endings
from workers.member import Member
from workers.sampler import Sampler

__all__ = ["site"]

MIB = 2**20


@pytest.fixture
def quiet(site: Site) -> Site:
    """A worker whose sweep comes too late to be what told."""
    site.env["DCLOUD_SWEEP_SECONDS"] = "300"
    site.work()
    return site


def told(site: Site, env_id: str, reason: Reason) -> Event:
    """The event with this reason, once it is there."""

    def found() -> list[Event]:
        return [event for event in site.ledger.events(env_id) if event.reason == reason]

    site.until(found, 20, lambda: site.ledger.events(env_id))
    return found()[0]


def test_what_happens_is_told_at_once(quiet: Site, engine: DockerClient) -> None:
    ended, removed, hungry, paused = ids = [quiet.submit() for _ in range(4)]
    for env_id in ids:
        quiet.wait(env_id, State.RUNNING)
    of = {container.attrs["Labels"]["dcloud.env"]: container for container in quiet.containers(engine)}
    of[paused].pause()
    of[ended].kill("SIGKILL")
    of[removed].remove(force=True)

    stopped = quiet.wait(ended, State.STOPPED, seconds=20)
    assert stopped.reason == Reason.CONTAINER_EXITED
    assert stopped.message.endswith("Exit code 137.")
    assert quiet.wait(removed, State.STOPPED, seconds=20).reason == Reason.CONTAINER_LOST
    assert told(quiet, paused, Reason.PAUSED).state is State.RUNNING
    of[paused].unpause()
    quiet.until(lambda: quiet.ledger.get(paused).reason == "")
    assert quiet.ledger.get(paused).message == "Running"

    sentence = "The kernel killed a program here that used more RAM than the contract allows.\n"
    assert quiet.run(hungry, "python", "-c", "x = bytearray(200 * 2**20)") == (137, sentence)
    assert quiet.run(hungry, "sh", "-c", "exit 137") == (137, ""), "nothing was killed"
    assert quiet.run(hungry, "nope") == (127, "There is no program 'nope' in this environment.\n")
    assert quiet.run(hungry, "/etc/passwd")[1].startswith("'/etc/passwd' cannot be run: ")
    killed = told(quiet, hungry, Reason.OUT_OF_MEMORY)
    assert killed.state is State.RUNNING, "the container lives on"
    assert "(1 so far)" in killed.message

    quiet.ledger.start(ended)
    assert quiet.wait(ended, State.RUNNING).message == "Running"


def test_a_container_that_runs_out_of_ram_as_a_whole(quiet: Site, engine: DockerClient) -> None:
    """The kernel chooses whom it kills; here its choice is the process that the container lives by."""
    env_id = quiet.submit()
    quiet.wait(env_id, State.RUNNING)
    (container,) = quiet.containers(engine)
    choose = "for p in /proc/[0-9]*; do grep -q sleep $p/comm && echo 1000 > $p/oom_score_adj; done; "
    hogs = "for n in 1 2; do python -c 'import time; x = bytearray(40 * 2**20); time.sleep(9)' & done; wait"
    container.exec_run(["sh", "-c", choose + hogs], detach=True)
    stopped = quiet.wait(env_id, State.STOPPED, seconds=30)
    assert stopped.reason == Reason.OUT_OF_MEMORY
    assert "Exit code 137." in stopped.message


class Watched:
    """Environments that the ledger knows to run on the host of a lab, and a sampler that looks when it is told to."""

    def __init__(self, lab: Lab, redis_url: str):
        settings = lab.host.settings
        self.lab = lab
        self.ledger = Ledger.connect(replace(settings, redis_url=redis_url))
        self.member = Member(settings, self.ledger, lab.host)
        self.member.epoch = self.ledger.register(settings.host, "instance", 40, lab.host.inventory())
        self.sampler = Sampler(self.member, Endings(self.member))
        self.stats = Stats(self.ledger.redis, self.ledger.keys)

    def run(self, **resources: str) -> str:
        """A running environment."""
        job = self.lab.job(**resources)
        self.ledger.submit(job.id, "tester", job.contract)
        claimed = self.ledger.claim(self.member.name, self.member.epoch)
        assert claimed
        self.lab.jobs[job.id] = claimed
        self.lab.host.start(claimed, Heard())
        for state in (State.BUILDING, State.STARTING, State.RUNNING):
            self.member.advance(claimed, state, 100, "Running")
        return job.id


@pytest.fixture
def watched(lab: Lab, redis_url: str) -> Iterator[Watched]:
    watched = Watched(lab, redis_url)
    yield watched
    watched.ledger.redis.close()


def commands(watched: Watched) -> int:
    """How many commands Redis has done."""
    return int(watched.ledger.redis.info("stats")["total_commands_processed"])


def test_what_is_used_is_sampled(watched: Watched) -> None:
    before = commands(watched)
    watched.sampler.look(keep=True)
    assert commands(watched) == before + 1, "nothing runs: nothing is asked of Redis but this very question"

    busy, idle = watched.run(cpu="0.5", ram="128MiB", storage="64MiB"), watched.run()
    watched.sampler.look(keep=True)
    assert watched.stats.read(busy) == []
    work = (
        "import time; x = bytearray(64 * 2**20); open('/workspace/f', 'wb').write(bytes(16 * 2**20)); "
        "end = time.monotonic() + 2\n"
        "while time.monotonic() < end: pass\n"
        "print(flush=True); time.sleep(60)"
    )
    command = watched.lab.host.exec(watched.lab.jobs[busy].id, ["python", "-c", work], tty=False)
    assert command.read() == b"\n"
    events = len(watched.ledger.events(busy))
    watched.sampler.look(keep=True)
    command.close()
    (seen,), (rest,) = watched.stats.read(busy), watched.stats.read(idle)
    assert 50 < seen.use.cpu_milli < 750, "a busy machine gives less"
    assert rest.use.cpu_milli < 50
    assert 64 * MIB < seen.use.ram_bytes < 128 * MIB
    assert 16 * MIB < seen.use.storage_bytes < 64 * MIB
    assert (seen.use.pids, rest.use.pids) == (4, 3)
    assert seen.use.oom_kills == 0
    assert len(watched.ledger.events(busy)) == events, "nothing is wrong, so nothing is told"


def test_a_look_between_is_no_sample_and_full_storage_is_told_once(watched: Watched) -> None:
    env_id = watched.run(storage="32MiB")
    job = watched.lab.jobs[env_id]
    for _ in range(2):
        watched.sampler.look(keep=True)
    watched.sampler.look(keep=False)
    assert len(watched.stats.read(env_id)) == 1
    watched.lab.run(job, "sh", "-c", "head -c 100M /dev/zero > big")
    events = len(watched.ledger.events(env_id))
    for _ in range(3):
        watched.sampler.look(keep=True)
    assert len(watched.ledger.events(env_id)) == events + 1
    assert watched.ledger.get(env_id).reason == Reason.STORAGE_NEARLY_FULL
    assert watched.ledger.get(env_id).state is State.RUNNING
    # a worker that is started anew tells nothing twice
    Sampler(watched.member, Endings(watched.member)).look(keep=True)
    assert len(watched.ledger.events(env_id)) == events + 1
    for share, reason in ((0.87, Reason.STORAGE_NEARLY_FULL), (0.5, "")):
        fill = watched.lab.host.fill(env_id)
        assert fill
        watched.lab.run(job, "truncate", "-s", f"-{fill.used_bytes - int(fill.size_bytes * share)}", "big")
        watched.lab.run(job, "sync")
        watched.sampler.look(keep=False)
        assert watched.ledger.get(env_id).reason == reason
