"""What a crash in the middle of an end leaves on a host is found and removed; what is not ours stays."""

from __future__ import annotations

from docker import DockerClient
from test_worker import Site, site

from common import ids
from common.settings import Settings
from common.states import State
from workers.confinement import overlay_name
from workers.engine import ENV, HOST, PREFIX
from workers.provision import Host

__all__ = ["site"]


def test_files_mounts_and_overlays_that_nobody_needs(site: Site, engine: DockerClient) -> None:
    site.work()
    ended, stopped = site.submit(), site.submit()
    for env_id in (ended, stopped):
        site.wait(env_id, State.RUNNING)
    site.run(stopped, "sh", "-c", "echo mine > file")
    site.ledger.delete(ended)
    site.ledger.stop(stopped)
    site.wait(ended, State.DELETED)
    site.wait(stopped, State.STOPPED)

    name = site.host("a")
    host = Host(Settings.from_env({**site.env, "DCLOUD_HOST_NAME": name}))
    labels = {HOST: name, PREFIX: site.prefix}
    unknown = ids.new_id()
    try:
        for env_id in (ended, stopped, unknown):
            host.volumes_.open(env_id, 32)
            host.engine.create_volume(
                overlay_name(env_id), {"type": "tmpfs", "device": "tmpfs"}, {**labels, ENV: env_id}
            )
        strangers = [
            engine.volumes.create(f"dcloud-{ids.new_id()}", labels={ENV: "x"}),
            engine.volumes.create(f"{site.prefix}-stranger"),
        ]
        site.until(lambda: host.traces() <= {stopped, unknown} and not host.mounted(stopped), 30, host.traces)
        assert not (site.data / "volumes" / ended).exists()
        assert (site.data / "volumes" / stopped / "storage.img").exists()
        assert host.mounted(unknown), "the ledger may be an old copy: an operator decides"
        for stranger in strangers:
            stranger.reload()
            stranger.remove()
        site.ledger.start(stopped)
        site.wait(stopped, State.RUNNING)
        assert site.run(stopped, "cat", "file") == (0, "mine\n")
    finally:
        host.remove(unknown)
        host.close()
