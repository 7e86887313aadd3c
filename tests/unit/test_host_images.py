"""Where base images come from, and what the maker of one says."""

from __future__ import annotations

from workers.mirror import _Steps, mirror_lines

KIN = frozenset({"bullseye", "bookworm", "trixie"})
TARGETS = """\
Packages http://vendor.lab/debian/ bookworm contrib
Packages http://mirror.lab/debian/ bookworm main
Packages http://mirror.lab/debian/ bookworm-updates main
Packages http://mirror.lab/security/ bookworm-security main
Translations http://elsewhere.lab/debian/ bookworm main
Packages https://tools.lab/ stable main
"""


def test_any_suite_comes_from_the_mirror_of_its_kin() -> None:
    assert mirror_lines("trixie", KIN, TARGETS) == [
        "deb http://mirror.lab/debian/ trixie main",
        "deb http://mirror.lab/debian/ trixie-updates main",
        "deb http://mirror.lab/security/ trixie-security main",
    ]


def test_a_machine_of_another_kind_names_no_mirror() -> None:
    assert mirror_lines("bookworm", KIN, "Packages http://mirror.lab/ubuntu/ noble main\n") == []
    assert mirror_lines("bookworm", KIN, "") == []


def test_the_bar_moves_with_packages_and_never_back() -> None:
    steps, seen = _Steps(), []
    lines = ["I: running apt-get update...", "Get:1 http://mirror.lab/debian bookworm InRelease [151 kB]"]
    lines += ["Get:2 http://mirror.lab/debian bookworm/main amd64 Packages [8790 kB]"]
    lines += ["0 upgraded, 60 newly installed, 0 to remove"]
    lines += [f"Get:{n} http://mirror.lab/debian bookworm/main amd64 p{n} amd64 1:1.0 [9900 B]" for n in range(60)]
    lines += [f"Unpacking p{n} (1.0) ..." for n in range(60)]
    lines += ["0 upgraded, 70 newly installed, 0 to remove"]
    lines += [f"Setting up p{n} (1.0) ..." for n in range(60)]
    said = []
    for line in lines:
        said.append(steps.read(line))
        seen.append(steps.fraction)
    assert seen == sorted(seen)
    assert 0.4 < seen[-1] <= 1
    assert said[0] == "running apt-get update..."
    assert said[1:4] == [None] * 3, "an index is no package"
    assert said[4] == "Downloading packages: 1 of 60"
    assert "Unpacking packages: 60 of 60" in said
    assert said[-1] == "Setting up packages: 60 of 130"
