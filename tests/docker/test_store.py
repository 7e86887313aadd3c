"""The cap on layers and wheels: what goes, in which order, and what never does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lab import Heard, Lab, again
from trees import hashes
from wheels import index, wheel

from common.errors import SettingsError
from common.settings import Settings
from workers.provision import Host
from workers.store import Store

NAMES = ("alder", "birch", "cedar", "daisy")


@pytest.fixture
def small(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A host whose libraries have 4 MiB each, and whose store may have 10."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    tmp_path.chmod(0o755)
    for name in NAMES:
        wheel(tmp_path / "simple" / name, name, "1.0", mib=4)
    wheel(tmp_path / "simple" / "pip", "pip", "25.0")
    own = replace(
        settings, index_url=index(tmp_path / "simple"), data_dir=tmp_path / "data", host_name="small",
        store_limit="10MiB", torch_index="",
    )  # fmt: skip
    lab = Lab(Host(own))
    yield lab
    lab.clear()
    lab.host.builders.close()
    lab.host.close()


@pytest.fixture
def here(small: Lab) -> Callable[[], set[str]]:
    """Libraries that are in the store, once as layers and once as unpacked wheels: both or none."""

    def look() -> set[str]:
        root = small.host.store.root
        layers = {path.name for path in root.glob("layers/*/lib/python3*/site-packages/*") if path.name in NAMES}
        wheels = {path.name for path in root.glob("cache/*/archive-v*/*/*") if path.name in NAMES}
        assert layers == wheels
        return layers

    return look


def test_the_longest_unused_goes_first_and_what_is_in_use_never(small: Lab, here: Callable[[], set[str]]) -> None:
    jobs = {name: small.start(name) for name in NAMES}  # all run
    assert small.host.store.tidy() == []
    assert here() == set(NAMES)
    small.host.stop(jobs["daisy"].id)  # it may come back
    for name in ("alder", "birch"):
        small.host.remove(jobs[name].id)
    small.host.remove(small.start("alder").id)  # birch is now the longest unused
    small.host.store._seen = frozenset()
    before = hashes(small.host.store.root / "layers" / layer_of(small, "cedar"))
    assert len(small.host.store.tidy()) == 2  # cedar and daisy alone fill it
    assert here() == {"cedar", "daisy"}
    assert hashes(small.host.store.root / "layers" / layer_of(small, "cedar")) == before
    small.host.start(again(jobs["daisy"]), Heard())
    assert small.python(jobs["daisy"], "import daisy; print(daisy.__version__)") == "1.0"


def test_no_more_goes_than_has_to_and_what_went_comes_back(small: Lab, here: Callable[[], set[str]]) -> None:
    for name in ("alder", "birch", "cedar"):
        small.host.remove(small.start(name).id)
    small.host.remove(small.start("alder").id)
    assert len(small.host.store.tidy()) == 1
    assert here() == {"alder", "cedar"}
    back = small.start("birch")
    assert small.python(back, "import birch, birch_moved; print(birch.__version__, birch_moved.here)") == "1.0 True"
    assert here() == {"alder", "birch", "cedar"}


def test_nothing_goes_while_somebody_is_at_it(small: Lab, here: Callable[[], set[str]]) -> None:
    for name in ("alder", "birch", "cedar"):
        small.host.remove(small.start(name).id)
    (small.host.store.root / "layers/half-made").mkdir()
    with small.host.store.used():
        assert Store(small.host.settings).tidy() == []
        assert here() == {"alder", "birch", "cedar"}
        assert (small.host.store.root / "layers/half-made").exists()
    assert len(Store(small.host.settings).tidy()) == 1
    assert not (small.host.store.root / "layers/half-made").exists()


def test_what_was_killed_in_the_middle_leaves_nothing(small: Lab) -> None:
    store = small.host.store
    small.start("alder")
    left = [*store.root.glob("cache/*"), store.root / "work", store.root / "layers"]
    left = [path / name for path, name in zip(left, (".tmpAbC123", "0123abcd", "half-made"), strict=True)]
    for path in left:
        path.mkdir()
        (path / "file").write_text("x")
    (store.root / "work" / "key.txt").write_text("x")
    with store.used():
        store.tidy()
        assert all(path.exists() for path in left)
    store.tidy()
    assert not any(path.exists() for path in left)
    assert list((store.root / "work").iterdir()) == []
    assert layer_of(small, "alder")  # what is sealed stays


def test_a_cap_that_is_no_size(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="DCLOUD_STORE_LIMIT: 'much'"):
        Store(replace(settings, store_limit="much"))


def layer_of(lab: Lab, name: str) -> str:
    (found,) = lab.host.store.root.glob(f"layers/*/lib/python3*/site-packages/{name}")
    return found.parents[3].name
