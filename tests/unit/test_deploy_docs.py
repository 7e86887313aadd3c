"""The papers say what is there: every setting, every dependency, every file they point to."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTING = re.compile(r'^    (\w+): \w+(?: = (?:Path\()?"?(.*?)"?\)?)?  # (.+)$', re.MULTILINE)
PAPERS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_every_setting_has_its_line() -> None:
    settings = SETTING.findall((ROOT / "common" / "settings.py").read_text())
    assert len(settings) > 20
    wanted = [
        f"| `DCLOUD_{n.upper()}` | {f'`{default}`' if default else ''} | {text} |" for n, default, text in settings
    ]
    lines = (ROOT / "docs" / "operations.md").read_text().splitlines()
    assert [line for line in lines if line.startswith("| `DCLOUD_")] == wanted


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for names in project["optional-dependencies"].values() for name in names),
    ]
    rows = (ROOT / "docs" / "dependencies.md").read_text().splitlines()
    named = {name.strip() for row in rows if row.startswith("| ") for name in row.split("|")[1].split(",")}
    assert {re.split(r"[<>=]", requirement)[0] for requirement in wanted} <= named


def test_every_lock_pins_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for lock, extras in (("requirements.txt", ["build"]), ("requirements-dev.txt", ["build", "dev"])):
        pinned = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "deploy" / lock).read_text(), re.MULTILINE))
        wanted = [*project["dependencies"], *(n for extra in extras for n in project["optional-dependencies"][extra])]
        assert {re.split(r"[<>=]", requirement)[0] for requirement in wanted} <= pinned


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_what_a_paper_points_to_is_there(paper: Path) -> None:
    text = paper.read_text()
    paths = set(re.findall(r"`((?:api|common|workers|deploy|tests|docs|examples)/[\w./-]*)`", text))
    paths |= {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    missing = {path for path in paths if not any((base / path).exists() for base in (ROOT, paper.parent))}
    assert missing == set()


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_every_make_target_that_a_paper_names_exists(paper: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)(?=[`\s]*(?:$|[`#]|ARGS))", paper.read_text(), re.MULTILINE)) <= targets
