"""What an installation keeps of itself, and how its parts are named and told apart."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from common.errors import SettingsError
from deploy import host, services, steps, up
from deploy.installation import Installation, private_write
from deploy.steps import SetupError


def test_settings_come_back_as_they_were_saved(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    assert installation.saved() == {}
    variables = {"DCLOUD_REDIS_URL": "redis://:p=ss@127.0.0.1:6379/0", "DCLOUD_HOST_NAME": "gpu-1"}
    installation.save(variables)
    assert installation.saved() == variables
    assert installation.settings().host == "gpu-1"


def test_a_start_knows_the_settings_of_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation = Installation(tmp_path)
    for name in [name for name in os.environ if name.startswith("DCLOUD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DCLOUD_KEY_PREFIX", "lab")
    monkeypatch.setenv("DCLOUD_REDIS_BIND", "10.0.0.5")
    installation.save(up.variables(installation, "redis://one"))
    monkeypatch.delenv("DCLOUD_KEY_PREFIX")
    monkeypatch.setenv("DCLOUD_REDIS_BIND", "")
    again = up.variables(installation, "redis://two")
    assert (again["DCLOUD_KEY_PREFIX"], again["DCLOUD_REDIS_URL"]) == ("lab", "redis://two")
    assert "DCLOUD_REDIS_BIND" not in again
    moved = Installation(tmp_path / "moved")
    moved.save(again)
    assert up.variables(moved, "redis://two")["DCLOUD_DATA_DIR"] == f"{moved.var}/data"


def test_what_holds_a_password_is_for_its_owner_alone(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.save({"DCLOUD_REDIS_URL": "redis://:secret@127.0.0.1/0"})
    assert stat.S_IMODE(installation.settings_file.stat().st_mode) == 0o600


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    kept = tmp_path / "token"
    kept.write_text("old")
    kept.chmod(0o644)
    private_write(kept, "new")
    assert kept.read_text() == "new"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [kept]


def test_saved_settings_that_make_no_sense_are_named(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.save({"DCLOUD_REDIS_URL": "redis://x", "DCLOUD_WORKER_THREADS": "many"})
    with pytest.raises(SettingsError, match="DCLOUD_WORKER_THREADS is 'many'"):
        installation.settings()


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with (
        Installation(tmp_path).held(),
        pytest.raises(SetupError, match="under way"),
        Installation(tmp_path).held(),
    ):
        pass
    with Installation(tmp_path).held():
        pass


def test_the_procfile_names_what_runs() -> None:
    commands = services.procfile()
    assert list(commands) == ["api", "worker", "flower", "webhooks"]
    assert commands["api"][-1] == "api:create_app()"
    assert sorted(services.AS_ROOT) == ["worker"]


def test_an_address_in_use_is_refused_with_another_to_try() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"DCLOUD_API_BIND=127.0.0.1:{port + 100} make run"):
            services.refuse_taken("DCLOUD_API_BIND", f"127.0.0.1:{port}")


def test_packages_are_those_of_which_something_is_missing() -> None:
    wanted = {"sh": "dash", "no-such-program": "something", "/etc/passwd": "something", "/no/such/file": "another"}
    assert host.packages_for(wanted) == ["another", "something"]


def test_where_nothing_may_be_installed_the_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "as_root", lambda: None)
    with pytest.raises(SetupError, match="sudo apt-get install e2fsprogs mount"):
        host.install(["e2fsprogs", "mount"], tmp_path / "log")


def test_a_command_that_fails_names_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log" / "setup.log"
    with pytest.raises(SetupError, match="exit status 3") as caught:
        host.run(["sh", "-c", "echo what went wrong; exit 3"], log)
    assert caught.value.log == log
    assert "what went wrong" in log.read_text()


def test_a_start_says_why() -> None:
    names = list(services.procfile())
    assert services._why_started(names, []) == "started"
    assert services._why_started(names, names) == "started again with what changed"
    assert services._why_started(names, ["worker", "flower", "webhooks"]) == "started again: api had ended"


def test_a_step_says_what_it_found_and_nothing_where_it_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with steps.step("Redis") as under_way:
        under_way.found = "7.0.15"
    assert capsys.readouterr().out.split("✓")[1].split() == ["Redis", "7.0.15"]
    with pytest.raises(SetupError), steps.step("Redis"):
        raise SetupError("It does not start.")
    assert capsys.readouterr().out == ""


def test_an_error_shows_the_end_of_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "worker.log"
    log.write_text("".join(f"line {number}\n" for number in range(40)))
    steps.explain(SetupError("The worker ended.", log))
    said = capsys.readouterr().err
    assert said.startswith("\nThe worker ended.\n")
    assert "line 39" in said
    assert "line 24\n" not in said
