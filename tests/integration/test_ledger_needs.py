"""What can be asked for, what an owner may hold, and how many steps it takes the ledger to find a host."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_parts import OneHost, inventory, wants

from common.inventory import Gpu
from common.ledger import Ledger, Quota
from common.states import Reason

pytest_plugins = ["ledger_fixtures"]

MIXED = (
    *(Gpu(f"a100-80-{i}", "NVIDIA A100-SXM4-80GB", 81_920) for i in range(4)),
    *(Gpu(f"a100-40-{i}", "NVIDIA A100-PCIE-40GB", 40_960) for i in range(2)),
    *(Gpu(f"h200-{i}", "NVIDIA H200", 143_771) for i in range(2)),
)


@pytest.mark.parametrize(
    ("gpu", "given"),
    [
        ("1", ["a100-40-0"]),
        ("2", ["a100-40-0", "a100-40-1"]),
        ("80GB:1", ["a100-80-0"]),
        ("A100:80GB:4", [f"a100-80-{i}" for i in range(4)]),
        ("A100:2", ["a100-40-0", "a100-40-1"]),
        ("H200:2", ["h200-0", "h200-1"]),
        ("100GB:2", ["h200-0", "h200-1"]),
        ("6", ["a100-40-0", "a100-40-1", *(f"a100-80-{i}" for i in range(4))]),
        ("A100:80GB:5", None),
        ("H200:3", None),
        ("V100:1", None),
    ],
)
def test_gpus_of_a_model_and_a_memory_are_given_by_uuid_the_smallest_first(
    ledger: Ledger, gpu: str, given: list[str] | None
) -> None:
    host = OneHost(ledger, gpus=MIXED)
    ledger.submit("e1", "ann", wants(gpu=gpu, wait=True))
    job = host.claim()
    assert (sorted(job.gpus) if job else None) == given
    assert (ledger.explain("e1")["verdict"] == "never") == (given is None)


@pytest.mark.parametrize(
    ("memory", "cards"),
    [
        ("80GB", (81_920, 81_559, 81_251)),
        ("80GiB", (81_559, 81_251)),  # an H100's and an A100's, by the driver
        ("40GB", (40_960, 40_536)),
        ("24GB", (24_564, 23_028, 22_731)),
        ("16GB", (15_360, 15_109)),
    ],
)
def test_a_card_is_of_the_size_that_it_is_sold_as(ledger: Ledger, memory: str, cards: tuple[int, ...]) -> None:
    for memory_mib in cards:
        host = OneHost(ledger, f"h{memory_mib}", gpus=(Gpu(f"G{memory_mib}", "NVIDIA", memory_mib),))
        ledger.submit(f"e{memory_mib}", "ann", wants(gpu=f"{memory}:1", wait=True))
        assert host.claim().id == f"e{memory_mib}"


def test_a_smaller_card_is_not_taken_for_a_larger_one(ledger: Ledger) -> None:
    OneHost(ledger, gpus=(Gpu("G1", "NVIDIA GeForce RTX 2080 Ti", 11_264),))
    assert ledger.judge("ann", wants(gpu="12GB:1"))["verdict"] == "never"


@pytest.mark.parametrize("islands", [(1, 2, 3, 3), (1, 1, 2, 3)])
def test_small_gpus_apart_go_before_large_ones_that_are_linked(ledger: Ledger, islands: tuple[int, ...]) -> None:
    memory_mib = (40_960, 40_960, 81_920, 81_920)
    gpus = [Gpu(f"G{i}", "NVIDIA", memory_mib[i], island=island) for i, island in enumerate(islands)]
    host = OneHost(ledger, gpus=tuple(gpus))
    ledger.submit("e1", "ann", wants(gpu="2"))
    assert host.claim().gpus == ("G0", "G1")


@pytest.mark.parametrize(
    ("quota", "words", "small"),
    [
        (Quota(environments=1), "environments", None),
        (Quota(cpu_milli=2500), "CPU", {"cpu": "0.5"}),
        (Quota(ram_mib=2560), "RAM", {"ram": "512MiB"}),
        (Quota(gpus=3), "GPUs", {"gpu": "1"}),
        (Quota(storage_mib=2560), "storage", {"storage": "512MiB"}),
    ],
)
def test_what_is_over_a_quota_waits_in_nobodys_way_and_says_of_what(
    ledger: Ledger, quota: Quota, words: str, small: dict[str, str] | None
) -> None:
    host = OneHost(ledger, gpus=MIXED)
    ledger.set_quota("ann", quota)
    needs = {"cpu": "2", "ram": "2GiB", "gpu": "2", "storage": "2GiB"}
    for env_id in ("first", "second"):
        ledger.submit(env_id, "ann", wants(**needs))
    ledger.submit("other", "bob", wants(**needs))
    assert [host.claim().id, host.claim().id, host.claim()] == ["first", "other", None]
    over = ledger.get("second")
    assert (over.reason, over.position) == (Reason.OVER_QUOTA, None)
    assert words in over.message
    assert ledger.explain("second")["parked"] == words
    if small:
        none_of_it = {"cpu": "0.01", "ram": "16MiB", "gpu": "0", "storage": "16MiB"}
        ledger.submit("within", "ann", wants(**{**none_of_it, **small}))
        assert host.claim().id == "within", "what is within it passes what is over it"


def commands_of(ledger: Ledger, act: Any) -> int:
    """How many commands Redis ran for it, those inside functions counted."""

    def so_far() -> int:
        return sum(int(one["calls"]) for name, one in ledger.redis.info("commandstats").items() if "info" not in name)

    before = so_far()
    act()
    return so_far() - before


def test_a_claim_takes_as_many_steps_however_many_wait_and_however_many_hosts_there_are(ledger: Ledger) -> None:
    def steps(waiting: int, hosts: int) -> tuple[int, int]:
        ledger.redis.flushall()
        members = [OneHost(ledger, f"h{i}", gpus=()) for i in range(hosts)]
        small = OneHost(ledger, "small", cpu_milli=10)
        for i in range(waiting):
            ledger.submit(f"e{i}", f"owner{i % 7}", wants(cpu=str(1 + i % 4)))
        hit = commands_of(ledger, members[0].claim)
        ledger.submit("last", "ann", wants())
        return hit, commands_of(ledger, small.claim)

    assert steps(20, 4) == steps(400, 60)


def test_a_miss_that_cannot_have_changed_is_one_command(ledger: Ledger) -> None:
    host = OneHost(ledger)
    for i in range(50):
        ledger.submit(f"e{i}", "ann", wants(cpu=str(9 + i), wait=True))
    assert commands_of(ledger, host.claim) > 2
    assert commands_of(ledger, host.claim) == 2, "the function, and one read in it"
    ledger.register("h1", "instance-h1", 40, inventory(cpu_milli=9000))
    assert host.claim().id == "e0"
