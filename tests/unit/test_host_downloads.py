"""The bar of a download moves with the bytes."""

from __future__ import annotations

from workers.downloads import Download

MIB = 2**20


def test_bytes_of_what_was_announced() -> None:
    received = [1000 * MIB]
    download = Download(3, lambda: received[0])
    assert download.look(0) == "Installing libraries: 0 of 3"
    download.read("Downloading torch (180.0MiB)")
    download.read("Downloading numpy (20.0MiB)")
    received[0] += 50 * MIB
    assert download.look(1) == "Installing libraries: 1 of 3, 50 MiB of 200 MiB downloaded"
    assert download.fraction == 0.25
    download.read("Downloading late (1.0GiB)")  # the whole grows, and the bar does not go back
    download.look(1)
    assert download.fraction == 0.25
    download.read("Prepared 3 packages in 3s")
    assert download.look(2) == "Installing libraries: 3 of 3"
    assert download.fraction == 1


def test_packages_where_nothing_is_announced() -> None:
    download = Download(4, lambda: 0)
    assert download.look(1) == "Installing libraries: 1 of 4"
    assert download.fraction == 0.25
    download.look(9)  # another installation unpacks into the same cache
    assert download.fraction == 1
    download.look(-3)
    assert download.fraction == 1


def test_more_is_received_than_was_announced() -> None:
    received = [0]
    download = Download(1, lambda: received[0])
    download.read("Downloading numpy (20.0MiB)")
    received[0] = 30 * MIB
    assert "20 MiB of 20 MiB" in download.look(0)
    assert download.fraction == 1
