"""The command `dcloud`, run as a user runs it, against the served API."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from api_fixtures import serving
from simulated_host import SimulatedHost

from deploy.redis_server import free_port

DCLOUD = str(Path(sys.executable).with_name("dcloud"))
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def environ(server: Any, token_of: Callable[..., str], tmp_path: Path) -> dict[str, str]:
    """The environment of somebody with a token, and nothing else of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DCLOUD_", "XDG_"))}
    return kept | {"DCLOUD_API_URL": server.url, "DCLOUD_TOKEN": token_of("ada"), "HOME": str(tmp_path)}


@pytest.fixture
def dcloud(environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`dcloud("ls", "--json")`, waiting for its end."""

    def run(*arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [DCLOUD, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            text=True,
            env=environ | env,
            timeout=60,
        )

    return run


def submit(dcloud: Any, name: str = "lab", **contract: Any) -> dict[str, Any]:
    """Submit and wait for it to run."""
    done = dcloud("submit", "-", "--watch", "--json", stdin=json.dumps({"env-name": name, **contract}))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("example", ["data-science.json", "plain.toml"])
def test_submit_and_watch_until_it_runs(dcloud: Any, host: SimulatedHost, example: str) -> None:
    done = dcloud("submit", str(EXAMPLES / example), "--watch")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    percents = [int(line.split()[0]) for line in lines if " % " in line]
    assert percents == sorted(percents)
    assert {10, 60, 100} <= set(percents)
    assert any("libraries: 60 of 60" in line for line in lines)
    assert "runs on sim" in lines[-1]


def test_a_failure_ends_with_1_and_says_why(dcloud: Any, host: SimulatedHost) -> None:
    done = dcloud("submit", "-", "-w", stdin='{"env-name": "bad", "language": {"libraries": ["nosuchlib"]}}')
    assert done.returncode == 1
    assert "cannot be installed together" in done.stdout
    assert "Because nosuchlib was not found" in done.stdout
    assert "dcloud logs" in done.stdout
    done = dcloud("submit", "-", "-w", "--json", stdin='{"language": {"libraries": ["nosuchlib"]}}')
    assert done.returncode == 1
    assert json.loads(done.stdout)["state"] == "failed"
    assert "nosuchlib was not found" in dcloud("logs", "bad").stdout


def test_submit_alone_does_not_wait(dcloud: Any) -> None:
    done = dcloud("submit", "-", "--name", "mine", stdin="env-name: theirs\n")
    assert done.returncode == 0
    env_id, name, state = done.stdout.split()
    assert (len(env_id), name, state) == (15, "mine", "queued")


def test_standard_input_in_each_format(dcloud: Any) -> None:
    for text, arguments in (
        ('{"env-name": "j"}', []),
        ("env-name: y", []),
        ('env-name = "t"', ["--format", "toml"]),
    ):
        done = dcloud("submit", "-", "--json", *arguments, stdin=text)
        assert json.loads(done.stdout)["name"] in "jyt"


def test_what_is_refused_is_listed_with_its_path(dcloud: Any, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"languag": 1, "resources": {"ram": "x"}, "env-name": "a\\u001b[31m"}')
    for arguments in ([str(file)], [str(file), "--name", "x"]):
        done = dcloud("submit", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        lines = done.stderr.splitlines()
        assert any(line.startswith("languag: ") for line in lines)
        assert any(line.startswith("resources.ram: ") for line in lines)
        assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "said"),
    [
        (["submit", "/nowhere/x.json"], "", 2, "cannot be read"),
        (["submit", "-"], "", 2, "empty"),
        (["submit", "-"], "{" * 200_000, 2, "larger than is accepted"),
        (["submit", "-", "--name", "a b"], "{}", 2, "env-name: "),
        (["submit"], "", 2, "Name a FILE, or a --template"),
        (["frobnicate"], "", 2, "No such command"),
        (["show", "nothing"], "", 3, "There is no environment"),
        (["show", "0" * 15], "", 3, "There is no environment"),
        (["logs", "0" * 15], "", 3, "There is no environment"),
        (["rm", "-f", "0" * 15], "", 3, "There is no environment"),
        (["exec", "0" * 15, "--", "ls"], "", 3, "There is no environment"),
        (["ls", "--owner", "eve"], "", 4, "Only admins"),
    ],
)  # fmt: skip
def test_exit_codes_of_what_cannot_be(dcloud: Any, arguments: list[str], stdin: str, code: int, said: str) -> None:
    done = dcloud(*arguments, stdin=stdin)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_exit_codes_of_who_and_where(dcloud: Any, tmp_path: Path) -> None:
    def code(**env: str) -> tuple[int, str]:
        done = dcloud("ls", **env)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    assert code(DCLOUD_TOKEN="dc_u_x")[0] == 4
    assert code(DCLOUD_API_URL="http://127.0.0.1:1") == (5, code(DCLOUD_API_URL="http://127.0.0.1:1")[1])
    assert "cannot be reached" in code(DCLOUD_API_URL="http://127.0.0.1:1")[1]
    assert "begins with http" in code(DCLOUD_API_URL="localhost")[1]
    status, said = code(DCLOUD_TOKEN="", DCLOUD_VAR_DIR=str(tmp_path))
    assert status == 2
    assert "There is no token" in said


def test_where_the_token_is_found(dcloud: Any, environ: dict[str, str], tmp_path: Path) -> None:
    token = environ["DCLOUD_TOKEN"]
    var = tmp_path / "var"
    var.mkdir()
    (var / "admin.token").write_text(f"{token}\n")
    assert dcloud("ls", DCLOUD_TOKEN="", DCLOUD_VAR_DIR=str(var)).returncode == 0
    config = tmp_path / ".config" / "dcloud"
    config.mkdir(parents=True)
    (config / "token").write_text("dc_u_x")  # comes first, and is wrong
    assert dcloud("ls", DCLOUD_TOKEN="", DCLOUD_VAR_DIR=str(var)).returncode == 4
    assert dcloud("ls", DCLOUD_VAR_DIR=str(var)).returncode == 0  # the variable comes before both


def test_where_the_server_is_found(dcloud: Any, environ: dict[str, str], server: Any, tmp_path: Path) -> None:
    """In the order of docs/cli.md, each of these before the ones that were tried before it."""
    here, var, config = server.url, tmp_path / "var", tmp_path / ".config" / "dcloud"
    bind, nowhere = here.removeprefix("http://"), "127.0.0.1:1"
    var.mkdir()

    def code(**env: str) -> int:
        return int(dcloud("ls", **({"DCLOUD_API_URL": "", "DCLOUD_VAR_DIR": str(var)} | env)).returncode)

    assert code() == 5  # nobody says where it is
    for settings, found in (
        (f"DCLOUD_API_BIND={bind}", 0),
        (f"# DCLOUD_API_BIND={bind}\nDCLOUD_API_BIND={bind}\nDCLOUD_API_URL=http://{nowhere}", 5),
        (f"DCLOUD_API_BIND={nowhere}\nDCLOUD_API_URL={here}", 0),
        (f"DCLOUD_API_BIND={nowhere}", 5),
    ):
        (var / "dcloud.env").write_text(f"{settings}\n")
        assert code() == found, settings
    assert dcloud("login", "--with-token", stdin=environ["DCLOUD_TOKEN"]).returncode == 0
    assert (config / "server").read_text().strip() == here
    assert code() == 0
    assert code(DCLOUD_API_BIND=nowhere) == 5
    assert code(DCLOUD_API_BIND=nowhere, DCLOUD_API_URL=here) == 0
    (config / "server").write_text("localhost")
    refused = dcloud("ls", DCLOUD_API_URL="")
    assert (refused.returncode, str(config / "server") in refused.stderr) == (2, True)
    assert dcloud("logout").returncode == 0
    assert list(config.iterdir()) == []


def test_an_environment_by_id_by_its_beginning_and_by_name(dcloud: Any, host: SimulatedHost) -> None:
    first, second = submit(dcloud, "one"), submit(dcloud, "two")
    for word in (first["id"], "one"):
        assert json.loads(dcloud("show", word, "--json").stdout)["id"] == first["id"]
    common = "".join(a for n, a in enumerate(first["id"]) if second["id"].startswith(first["id"][: n + 1]))
    assert json.loads(dcloud("show", second["id"][: len(common) + 1], "--json").stdout)["id"] == second["id"]
    several = dcloud("show", common)
    assert (several.returncode, "not one environment but 2" in several.stderr) == (2, True)

    again = submit(dcloud, "one")
    assert dcloud("show", "one").returncode == 2
    assert dcloud("rm", "-f", first["id"]).returncode == 0
    assert json.loads(dcloud("show", "one", "--json").stdout)["id"] == again["id"]  # those that are gone do not count


def test_the_life_of_an_environment(dcloud: Any, host: SimulatedHost) -> None:
    env_id = submit(dcloud, "lab")["id"]
    shown = dcloud("show", "lab").stdout
    assert "state        running (100 %)" in shown
    assert "1 core, 1.86 GiB RAM" in shown
    assert dcloud("logs", "lab").stdout == "line 10\nline 40\nline 60\n"
    assert dcloud("logs", "lab", "--follow", "--json").stdout == '"line 10"\n"line 40"\n"line 60"\n'
    assert dcloud("logs", "lab", "--source", "container").stdout == "hello from the container\n"
    head, row = dcloud("ls").stdout.splitlines()
    assert head.split("\t")[:3] == ["ID", "NAME", "STATE"]
    assert row.split("\t")[:5] == [env_id, "lab", "running", "100", "sim"]
    assert json.loads(dcloud("ls", "--json").stdout)[0]["id"] == env_id

    assert dcloud("stop", "lab").returncode == 0
    wait_for(dcloud, env_id, "stopped")
    assert dcloud("exec", "lab", "--", "ls").returncode == 2
    again = dcloud("start", "lab", "--watch")
    assert again.returncode == 0
    assert again.stdout.count("100 %") == 1  # and not what was before the stop
    assert again.stdout.splitlines()[1].startswith("  0 %  queued")
    assert dcloud("rm", "lab").returncode == 2  # it asks, and nobody is there to answer
    assert dcloud("rm", "lab", "--yes", "--json").returncode == 0
    wait_for(dcloud, env_id, "deleted")
    assert "There is none" in dcloud("ls").stdout
    assert env_id in dcloud("ls", "--all").stdout
    assert json.loads(dcloud("ls", "--state", "running", "--json").stdout) == []


def wait_for(dcloud: Any, env_id: str, state: str) -> None:
    for _ in range(40):
        if json.loads(dcloud("show", env_id, "--json").stdout)["state"] == state:
            return
        time.sleep(0.1)
    raise AssertionError(state)


def test_hosts(dcloud: Any, host: SimulatedHost) -> None:
    head, row = dcloud("hosts").stdout.splitlines()
    assert head.startswith("HOST\tSTATE\tCPU FREE")
    assert row.startswith("sim\tready\t8/8\t15.6 GiB/15.6 GiB\t")
    assert json.loads(dcloud("hosts", "--json").stdout)[0]["name"] == "sim"


def test_hosts_where_there_is_none(dcloud: Any) -> None:
    assert "No worker" in dcloud("hosts").stdout


def test_catalog(dcloud: Any, host: SimulatedHost) -> None:
    rows = [line.split("\t") for line in dcloud("catalog").stdout.splitlines()]
    assert ["system", "debian 12", "python 3.11"] in rows
    assert ["gpu", "NVIDIA H200:143771MiB", "1 of 1 free, at most 1 at once"] in rows
    assert ["largest", "cpu", "8 now, 8 ever"] in rows
    assert json.loads(dcloud("catalog", "--json").stdout)["systems"][0]["version"] == "12"


def test_check_submits_nothing(dcloud: Any, host: SimulatedHost) -> None:
    done = dcloud("check", "-", stdin='{"language": {"libraries": ["numpy"]}}')
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "Starts now on sim."
    assert "Libraries: They would be installed." in done.stdout
    assert json.loads(dcloud("ls", "--json").stdout) == []


def test_check_of_what_cannot_be_ends_with_1(dcloud: Any, host: SimulatedHost) -> None:
    done = dcloud("check", "-", "--no-libraries", stdin='{"resources": {"gpu": "2"}}')
    assert done.returncode == 1
    assert "With 1 GPU it would start now." in done.stdout
    assert "sim\tready\t1 GPUs (1 free)\t" in done.stdout
    done = dcloud("check", "-", stdin='{"language": {"libraries": ["nosuchlib"]}}')
    assert done.returncode == 1
    assert "Because nosuchlib was not found" in done.stdout
    done = dcloud("check", "-", "--json", stdin='{"resources": {"gpu": "2"}}')
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (1, "never")


def test_explain(dcloud: Any) -> None:
    dcloud("submit", "-", stdin='{"env-name": "lab"}')
    assert dcloud("explain", "lab").stdout == "Waits: no host has joined yet. Place 1 in the queue.\n"


def test_templates_are_listed_saved_used_and_deleted(dcloud: Any, tmp_path: Path) -> None:
    assert "pytorch\tPyTorch\tshipped\teveryone\t" in dcloud("templates").stdout
    file = tmp_path / "mine.yaml"
    file.write_text("resources: {ram: 64MB}")
    for title in ("First", "Second"):
        assert dcloud("templates", "save", "mine", str(file), "--title", title).stdout == "mine  its owner\n"
    assert json.loads(dcloud("templates", "show", "mine").stdout)["title"] == "Second"
    done = dcloud("submit", "--template", "mine", "--set", "resources.cpu=2", "--name", "lab", "--json")
    contract = json.loads(done.stdout)["contract"]
    assert contract["env-name"] == "lab"
    assert (contract["resources"]["ram"], contract["resources"]["cpu"]) == ("62MiB", "2000m")
    assert dcloud("templates", "rm", "mine").returncode == 2  # nobody to be asked
    assert dcloud("templates", "rm", "mine", "--yes").returncode == 0
    assert dcloud("templates", "show", "mine").returncode == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["submit", "--template", "nosuch"], "template: There is no template nosuch"),
        (["submit", "--template", "jax", "--set", "x"], "'x' is not PATH=VALUE"),
        (["submit", "--template", "jax", "--set", "resources.ram=x"], "resources.ram: 'x' is not a size"),
        (["submit", "--template", "jax", "--set", "env-name.x=1"], "must be a string or a number"),
        (["templates", "save", "pytorch", "-"], "Only its owner and admins"),
    ],
)
def test_what_of_templates_is_refused(dcloud: Any, arguments: list[str], said: str) -> None:
    done = dcloud(*arguments, stdin="{}")
    assert done.returncode in (2, 4)
    assert said in done.stderr


def test_import_shows_a_contract_before_it_is_submitted(dcloud: Any, host: SimulatedHost, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("numpy\n-e .\n")
    done = dcloud("import", str(file))
    assert json.loads(done.stdout)["language"]["libraries"] == ["numpy"]
    assert done.stderr.startswith("line 2: ")
    assert dcloud("import", str(file), "--submit").returncode == 2  # nobody to be asked
    assert json.loads(dcloud("ls", "--json").stdout) == []
    assert dcloud("import", str(file), "--submit", "--yes", "--watch").returncode == 0
    assert dcloud("import", "-", stdin="x").returncode == 2
    assert dcloud("import", "/nowhere/x.txt").returncode == 2


def test_webhooks(dcloud: Any) -> None:
    made = json.loads(dcloud("webhooks", "add", "https://example.org/x", "--state", "running", "--json").stdout)
    assert made["secret"].startswith("whsec_")
    assert f"{made['id']}\thttps://example.org/x\trunning\tnone yet" in dcloud("webhooks").stdout
    assert dcloud("webhooks", "add", "http://10.0.0.1/").returncode == 2
    assert dcloud("webhooks", "rm", made["id"]).returncode == 0
    assert json.loads(dcloud("webhooks", "--json").stdout) == []


def test_top_looks_once_where_nobody_watches(dcloud: Any, host: SimulatedHost) -> None:
    submit(dcloud, resources={"cpu": "2"})
    done = dcloud("top")
    assert "sim\tready\t2/8\t" in done.stdout
    assert "\tlab\trunning\t100\t" in done.stdout
    assert {"hosts", "environments"} == set(json.loads(dcloud("top", "--json").stdout))


def test_top_lives_in_a_terminal_until_ctrl_c(environ: dict[str, str], dcloud: Any, host: SimulatedHost) -> None:
    submit(dcloud, name="first")
    terminal = Terminal([DCLOUD, "top", "-s", "0.5"], environ, rows=40, cols=150)
    terminal.until(b"first")
    submit(dcloud, name="second")
    terminal.until(b"second")
    terminal.type(b"\x03")
    assert terminal.end() == 0


@pytest.mark.parametrize(("shell", "said"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")])
def test_completion(dcloud: Any, environ: dict[str, str], shell: str, said: str) -> None:
    done = dcloud("completion", shell)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "_DCLOUD_COMPLETE" in done.stdout
    asked = environ | {"_DCLOUD_COMPLETE": "bash_complete", "COMP_WORDS": "dcloud temp", "COMP_CWORD": "1"}
    answer = subprocess.run([DCLOUD], env=asked, capture_output=True, text=True, check=False, timeout=60)
    assert answer.stdout.strip() == "plain,templates"


def test_ctrl_c_ends_the_watching_and_not_the_environment(
    environ: dict[str, str], dcloud: Any, host: SimulatedHost
) -> None:
    with subprocess.Popen(
        [DCLOUD, "submit", "-", "--watch"], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdin is not None
        assert watching.stdout is not None
        watching.stdin.write('{"env-name": "lab", "language": {"libraries": ["slow"]}}')
        watching.stdin.close()
        while "60 %" not in watching.stdout.readline():
            pass
        watching.send_signal(signal.SIGINT)
        assert "goes on without being watched" in watching.stdout.read()
        assert watching.wait(10) == 130
    host.go_on.set()
    wait_for(dcloud, json.loads(dcloud("show", "lab", "--json").stdout)["id"], "running")


def test_a_watch_outlives_a_kill_of_the_api(
    environ: dict[str, str], redis_url: str, host: SimulatedHost, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "api.log"
    env = environ | {"DCLOUD_API_URL": f"http://127.0.0.1:{port}"}
    contract = tmp_path / "slow.json"
    contract.write_text('{"language": {"libraries": ["slow"]}}')
    with serving(redis_url, port, log) as first:
        watching = subprocess.Popen(
            [DCLOUD, "submit", str(contract), "--watch"], env=env, stdout=subprocess.PIPE, text=True
        )
        assert watching.stdout is not None
        lines = []
        while not any("60 %" in line for line in lines):
            lines.append(watching.stdout.readline())
        os.killpg(first.process.pid, signal.SIGKILL)
    host.go_on.set()
    time.sleep(1)
    with serving(redis_url, port, log):
        rest = watching.stdout.read().splitlines()
        assert watching.wait(20) == 0
        watching.stdout.close()
    percents = [int(line.split()[0]) for line in [*lines, *rest] if " % " in line]
    assert percents == sorted(set(percents), key=percents.index)  # none twice
    assert [percent for percent in percents if percent >= 60] == [60, 90, 100]  # none missed


def test_exec_carries_input_output_and_exit_code(dcloud: Any, host: SimulatedHost) -> None:
    submit(dcloud, "lab")
    assert dcloud("exec", "lab", "--", "sh", "-c", "echo out; exit 7").returncode == 7
    done = dcloud("exec", "lab", "--", "sh", "-c", "cat; echo end", stdin="line\n" * 20_000)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "line\n" * 20_000 + "end\n"
    done = dcloud("exec", "lab", "seq", "100000")
    assert done.stdout == "".join(f"{n}\n" for n in range(1, 100_001))


def test_exec_says_so_when_it_may_not_go_on(
    environ: dict[str, str], dcloud: Any, host: SimulatedHost, parts: Any
) -> None:
    submit(dcloud, "lab")
    with subprocess.Popen(
        [DCLOUD, "exec", "lab", "--", "cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"one\n"
        parts.accounts.revoke("ada", environ["DCLOUD_TOKEN"].split("_")[2])
        process.stdin.write(b"two\n")
        process.stdin.flush()
        assert process.wait(15) == 5
        assert b"revoked" in process.stderr.read()


def test_exec_hangs_up_when_it_is_interrupted(environ: dict[str, str], dcloud: Any, host: SimulatedHost) -> None:
    submit(dcloud, "lab")
    with subprocess.Popen(
        [DCLOUD, "exec", "lab", "--", "sh", "-c", "echo $$; exec sleep 100"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        inside = int(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    for _ in range(100):
        if not Path(f"/proc/{inside}").exists():
            return
        time.sleep(0.05)
    raise AssertionError("the command inside still runs")


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, arguments: list[str], env: dict[str, str], rows: int = 24, cols: int = 80):
        self.main, side = pty.openpty()
        self.seen = b""
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        code = (
            "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdin=side, stdout=side, stderr=side,
            env=env | {"TERM": "xterm-256color"}, start_new_session=True,
        )  # fmt: skip
        os.close(side)

    def until(self, text: bytes, seconds: float = 15) -> bytes:
        end = time.monotonic() + seconds
        while text not in self.seen and time.monotonic() < end:
            if select.select([self.main], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.main, 65536)
                except OSError:
                    break
        assert text in self.seen, self.seen
        return self.seen

    def type(self, text: bytes) -> None:
        os.write(self.main, text)

    def resize(self, rows: int, cols: int) -> None:
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def end(self) -> int:
        code = self.process.wait(15)
        os.close(self.main)
        return code


def test_exec_on_a_terminal_is_raw_and_follows_its_size(
    environ: dict[str, str], dcloud: Any, host: SimulatedHost
) -> None:
    submit(dcloud, "lab")
    terminal = Terminal(
        [DCLOUD, "exec", "lab", "--", "sh", "-c", "echo ready; head -c 3 | od -An -tx1; exit 9"], environ
    )
    terminal.until(b"ready")
    terminal.resize(40, 132)
    terminal.until(b"40x132")
    terminal.type(b"\x03\rx")  # neither ends the command nor becomes a newline here
    terminal.until(b"03 0d 78")
    assert terminal.end() == 9


def test_the_bar_moves_on_a_terminal(environ: dict[str, str], host: SimulatedHost) -> None:
    terminal = Terminal([DCLOUD, "submit", str(EXAMPLES / "plain.toml"), "--watch"], environ, cols=120)
    seen = terminal.until(b"runs on sim").decode()
    assert terminal.end() == 0
    assert "100%" in seen
    assert "━" in seen
    assert "plain" in seen


def test_a_narrow_terminal_still_says_what_happens(environ: dict[str, str], server: Any) -> None:
    terminal = Terminal([DCLOUD, "submit", str(EXAMPLES / "data-science.json"), "--watch"], environ, cols=80)
    terminal.until(b"Waiting for a host with room")
    terminal.type(b"\x03")
    assert b"goes on without being watched" in terminal.until(b"dcloud show")
    assert terminal.end() == 130


def test_what_others_wrote_does_not_drive_the_terminal(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"\\u001b[31mkey": 1}')
    terminal = Terminal([DCLOUD, "submit", str(file)], environ)
    assert b"\x1b[31m" not in terminal.until(b"is not a key")
    assert terminal.end() == 2


def test_tables_on_a_terminal(environ: dict[str, str], dcloud: Any, host: SimulatedHost) -> None:
    submit(dcloud, "lab")
    terminal = Terminal([DCLOUD, "ls"], environ, cols=120)
    assert b"running" in terminal.until(b"ada")
    assert terminal.end() == 0


def test_doctor_ends_with_1_where_something_is_missing(dcloud: Any, redis_url: str, tmp_path: Path) -> None:
    """This Redis is as it should be; a worker never ran."""
    done = dcloud("doctor", "--json", DCLOUD_REDIS_URL=redis_url, DCLOUD_VAR_DIR=str(tmp_path / "var"))
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["Redis"]["ok"] is True
    assert checks["worker"]["ok"] is False
    assert checks["worker"]["advice"]
    assert done.returncode == 1


def test_help_names_every_command(dcloud: Any) -> None:
    text = dcloud("--help").stdout
    assert "Server, the first of: DCLOUD_API_URL; DCLOUD_API_BIND;" in text
    for command in ("submit", "ls", "show", "logs", "exec", "stop", "start", "rm", "hosts", "doctor"):
        assert f"  {command} " in text
        assert dcloud(command, "--help").returncode == 0


def test_a_reader_that_goes_away_is_no_error(dcloud: Any, environ: dict[str, str], host: SimulatedHost) -> None:
    submit(dcloud, "lab")
    command = f"{DCLOUD} exec lab -- seq 200000 | head -1; {DCLOUD} ls --json | head -1"
    done = subprocess.run(["bash", "-c", command], env=environ, capture_output=True, check=False, text=True, timeout=60)
    assert done.stdout == "1\n[\n"
    assert done.stderr == ""
