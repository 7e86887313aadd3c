"""What an environment reaches over the network, and what it does not."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from docker import DockerClient
from lab import Heard, Lab

from common.environment import Job
from common.errors import DCloudError
from common.settings import Settings
from workers.network import CONNECTIONS
from workers.provision import Host

TRY = """
import json, socket, sys
result = {}
for target in sys.argv[1:]:
    host, port = target.rsplit(':', 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        result[target] = 'reached'
    except OSError as error:
        result[target] = type(error).__name__
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def job(shared_lab: Lab) -> Job:
    return shared_lab.start()


@pytest.fixture
def listener() -> Iterator[int]:
    """A service of the host on all of its addresses, as a Redis would be."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104
        server.settimeout(0.2)
        ended = threading.Event()
        thread = threading.Thread(target=_accept, args=(server, ended))
        thread.start()
        yield server.getsockname()[1]
        ended.set()
        thread.join()


def _accept(server: socket.socket, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            server.accept()[0].close()
        except TimeoutError:
            continue


def reach(lab: Lab, job: Job, *targets: str) -> dict[str, str]:
    code, said = lab.run(job, "python", "-c", TRY, *targets)
    assert code == 0, said
    result: dict[str, str] = json.loads(said)
    return result


def test_neither_the_host_nor_link_local(shared_lab: Lab, job: Job, listener: int) -> None:
    network = shared_lab.host.engine.network(shared_lab.host.network.name)
    assert network is not None
    gateway = network["IPAM"]["Config"][0]["Gateway"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))  # sends nothing; only asks which address would be used
        own = probe.getsockname()[0]
    targets = [f"{gateway}:{listener}", f"{own}:{listener}", "169.254.169.254:80"]
    with socket.create_connection((own, listener), timeout=2):
        pass  # the host itself reaches it, so a refusal below is the shield's
    assert "reached" not in reach(shared_lab, job, *targets).values()


def test_not_another_environment(shared_lab: Lab, job: Job) -> None:
    other = shared_lab.start()
    server = shared_lab.host.exec(other.id, ["python", "-m", "http.server", "8123"], tty=False)
    try:
        (address,) = [n["IPAddress"] for n in shared_lab.inspect(other)["NetworkSettings"]["Networks"].values()]
        deadline = time.monotonic() + 60
        while reach(shared_lab, other, f"{address}:8123") != {f"{address}:8123": "reached"}:
            assert time.monotonic() < deadline, "the server in the environment does not begin"
        assert reach(shared_lab, job, f"{address}:8123") == {f"{address}:8123": "TimeoutError"}
    finally:
        server.close()


def test_the_package_index_is_reached(shared_lab: Lab, job: Job) -> None:
    code, said = shared_lab.run(job, "pip", "download", "--no-deps", "--quiet", "-d", "/tmp/six", "six")  # noqa: S108
    assert code == 0, said


def test_names_are_resolved(shared_lab: Lab, job: Job) -> None:
    code, said = shared_lab.run(job, "cat", "/etc/resolv.conf")
    assert code == 0
    assert "nameserver" in said


def test_the_names_of_other_environments_are_neither_told_nor_taken(shared_lab: Lab, job: Job) -> None:
    """The engine answers for all containers of a network: a name may neither stand for a machine nor say anything."""
    other = replace(shared_lab.job(), name="proxy")
    shared_lab.host.start(other, Heard())
    assert shared_lab.run(job, "getent", "hosts", "proxy")[0] != 0
    (address,) = [n["IPAddress"] for n in shared_lab.inspect(other)["NetworkSettings"]["Networks"].values()]
    assert "proxy" not in shared_lab.run(job, "getent", "hosts", address)[1]


def test_rules_that_were_flushed_come_back(shared_lab: Lab, job: Job, listener: int) -> None:
    network = shared_lab.host.network
    for parent, chain in (("DOCKER-USER", network._chain("OUT")), ("INPUT", network._chain("IN"))):
        subprocess.run(["iptables", "-w", "-D", parent, *network._jump(chain)], check=True)
    network._good_until = 0
    shared_lab.host.tend()
    test_neither_the_host_nor_link_local(shared_lab, job, listener)
    assert rules().count(f"-j {network._chain('IN')}") == 1


FLOOD = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(1, int(sys.argv[1])):
    sock.sendto(b"x", ("198.51.100.1", port))
"""


def test_connections_of_one_environment_have_an_end(shared_lab: Lab, job: Job) -> None:
    """The kernel keeps one table of them for the whole host: who fills it cuts off everybody."""
    code, said = shared_lab.run(job, "python", "-c", FLOOD, str(CONNECTIONS + 500))
    assert code == 0, said
    command = ["iptables", "-w", "-nvxL", shared_lab.host.network._chain("OUT")]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (line,) = [line for line in listed.splitlines() if "#conn" in line]
    assert int(line.split()[0]) > 0


def test_a_network_of_somebody_else_is_not_taken_for_ours(settings: Settings, engine: DockerClient) -> None:
    prefix = f"{settings.key_prefix}-foreign"
    name = f"dcloud-{hashlib.sha256(prefix.encode()).hexdigest()[:8]}"
    network = engine.networks.create(name)
    try:
        with pytest.raises(DCloudError, match=f"docker network rm {name}"):
            Host(replace(settings, key_prefix=prefix))
    finally:
        network.remove()


def test_a_host_that_is_taken_down_leaves_no_rule(host: Host, settings: Settings) -> None:
    other = Host(replace(settings, key_prefix=f"{settings.key_prefix}-gone"))
    try:
        bridge = other.network.bridge.upper()
        assert rules().count(f"-N {bridge}") == 2
        assert other.engine.network(other.network.name) is not None
        other.teardown()
        assert bridge not in rules().upper()
        assert other.engine.network(other.network.name) is None
        other.teardown()
    finally:
        other.close()


def rules() -> str:
    return subprocess.run(["iptables", "-w", "-S"], check=True, capture_output=True, text=True).stdout
