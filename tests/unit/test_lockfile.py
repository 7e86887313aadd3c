"""Locks as text: what is accepted, and that the same libraries give the same text."""

from __future__ import annotations

import pytest

from common import lockfile
from common.lockfile import Pin

A, B = "a" * 64, "b" * 64
TEXT = f"numpy==2.4.6 --hash=sha256:{A} --hash=sha256:{B}\ntorch==2.13.0+cpu --hash=sha256:{A}\n"


def test_what_is_written_is_read_again() -> None:
    pins = lockfile.read(TEXT)
    assert pins == (Pin("numpy", "2.4.6", (A, B)), Pin("torch", "2.13.0+cpu", (A,)))
    assert lockfile.write(pins) == TEXT
    assert [pin.local for pin in pins] == ["", "cpu"]


def test_order_case_comments_and_continuation_make_no_difference() -> None:
    other = f"# by hand\r\nTorch==2.13.0+cpu \\\r\n  --hash=sha256:{A}\n\n"
    other += f"NumPy==2.4.6 \\\n --hash=sha256:{B} \\\n --hash=sha256:{A}"
    assert lockfile.write(lockfile.read(other)) == TEXT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no library"),
        ("# nothing\n", "names no library"),
        ("numpy\n", "'numpy' in line 1"),
        ("numpy>=2\n", "'numpy>=2' in line 1"),
        ("numpy==2.4.6\n", "no hash for numpy in line 1"),
        (f"numpy==two --hash=sha256:{A}", "'two' in line 1, which is not a version"),
        (f"numpy==2 --hash=md5:{A}", "only --hash=sha256"),
        (f"numpy==2 --hash=sha256:{A[1:]}", "only --hash=sha256"),
        (f"numpy==2 --hash=sha256:{A} --index-url=http://bad.lab", "'--index-url=http://bad.lab' in line 1"),
        (f"numpy==2 ; python_version>'3' --hash=sha256:{A}", "';' in line 1"),
        (f"\n-r /etc/passwd\nnumpy==2 --hash=sha256:{A}", "'-r' in line 2"),
        (f"numpy @ https://bad.lab/numpy.whl --hash=sha256:{A}", "'numpy' in line 1"),
        (f"../numpy==2 --hash=sha256:{A}", "line 1"),
        (f"six==1 --hash=sha256:{A}\nSix==2 --hash=sha256:{A}", "names six twice, in line 2"),
        ("\n".join(f"p{n}==1 --hash=sha256:{A}" for n in range(501)), "names 501 libraries"),
        ("#" * 56_001, "56001 characters"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        lockfile.read(text)
