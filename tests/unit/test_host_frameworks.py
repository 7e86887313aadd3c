"""Which builds of frameworks are asked for, and what is said of those that came."""

from __future__ import annotations

import pytest

from common.errors import ProvisionError
from common.lockfile import Pin
from common.states import Reason
from workers import frameworks
from workers.frameworks import Accelerator, Attempt, accelerator

NEW, OLD = accelerator(1, "580.82.07"), accelerator(2, "535.54.03")


def pins(*texts: str) -> list[Pin]:
    return [Pin(*text.split("=="), ("a" * 64,)) for text in texts]


@pytest.mark.parametrize(
    ("gpus", "driver", "cudas"),
    [
        (0, "580.82.07", ()), (0, "", ()), (1, "", (13, 12, 11)), (1, "580.0", (13, 12, 11)), (1, "580", (13, 12, 11)),
        (1, "579.99.99", (12, 11)), (8, "525.60.13", (12, 11)), (1, "525.60.12", (11,)), (1, "450.80.02", (11,)),
        (1, "450.79", ()),
    ],
)  # fmt: skip
def test_what_a_driver_runs(gpus: int, driver: str, cudas: tuple[int, ...]) -> None:
    assert accelerator(gpus, driver).cudas == cudas


def test_without_a_gpu_no_build_for_cuda_is_asked_for() -> None:
    tried = frameworks.attempts(accelerator(0, "580"), ["torch", "tensorflow", "jax"])
    assert {attempt.build for attempt in tried} == {"cpu"}
    lines, overrides = frameworks.requirements(("torch>=2", "tensorflow==2.20", "jax"), tried[0])
    assert lines == ["torch>=2", "tensorflow-cpu==2.20", "jax"]
    assert overrides == ["tensorflow ; sys_platform == 'never'"]
    # where there is no such project for this version, the one with CUDA's code but without its libraries
    assert frameworks.requirements(("tensorflow==2.20",), tried[1]) == (["tensorflow==2.20"], [])


def test_with_gpus_the_newest_that_the_driver_runs() -> None:
    assert [a.build for a in frameworks.attempts(NEW, ["torch"])][:3] == ["cu132", "cu130", "cu129"]
    assert frameworks.attempts(OLD, ["torch"])[0].build == "cu129"
    assert "cu130" not in [a.build for a in frameworks.attempts(OLD, ["torch", "jax"])]
    (twelve, eleven) = frameworks.attempts(OLD, ["jax"])
    assert frameworks.requirements(('jax>=0.5; python_version > "3.9"', "tensorflow", "six"), twelve)[0] == [
        'jax[cuda12]>=0.5; python_version > "3.9"', "tensorflow[and-cuda]", "six",
    ]  # fmt: skip
    assert frameworks.requirements(("jax[cuda12-local]",), eleven)[0] == ["jax[cuda12-local]"]


def test_what_others_bring_is_chosen_too() -> None:
    cpu, cuda = Attempt("cpu"), Attempt("cu128", 12)
    brought = pins("lightning==2", "torch==2.15.0", "jax==0.5", "tensorflow==2.20")
    assert frameworks.implied(brought, ["lightning"], cpu, True) == ["torch"]
    assert frameworks.implied(brought, ["lightning"], cpu, False) == []
    assert frameworks.implied(brought, ["lightning"], cuda, True) == ["torch", "jax", "tensorflow"]
    good = pins("torch==2.15.0+cu128", "jax==0.5", "jax-cuda12-plugin==0.5", "tensorflow==2", "nvidia-cudnn-cu12==9")
    assert frameworks.implied(good, [], cuda, True) == []
    assert frameworks.implied(brought, ["torch", "jax", "tensorflow"], cuda, True) == []


@pytest.mark.parametrize(
    ("wanted", "came", "words"),
    [
        (NEW, ("torch==2.13.0+cpu",), "torch 2.13.0+cpu is a build without CUDA"),
        (NEW, ("torch==2.13.0",), "torch 2.13.0 is a build without CUDA"),
        (OLD, ("torch==2.15.0", "nvidia-cuda-runtime==13.2.86"), "for CUDA 13, which driver 535.54.03"),
        (OLD, ("torch==2.15.0+cu130",), "for CUDA 13, which driver 535.54.03"),
        (NEW, ("jax==0.5",), "jax 0.5 came without its CUDA plugin"),
        (NEW, ("tensorflow==2.20",), "tensorflow 2.20 came without CUDA's libraries"),
        (NEW, ("tensorflow-cpu==2.20",), "tensorflow-cpu 2.20 came without CUDA's libraries"),
        (NEW, ("torch==2.15.0+cu130",), ""),
        (OLD, ("torch==2.10.0", "nvidia-cuda-runtime-cu12==12.8", "nvidia-cublas-cu12==12"), ""),
        (NEW, ("jax==0.5", "jax-cuda13-plugin==0.5"), ""),
        (NEW, ("tensorflow==2.20", "nvidia-cudnn-cu12==9"), ""),
        (accelerator(0, ""), ("torch==2.13.0+cpu", "jax==0.5", "tensorflow==2.20"), ""),
        (accelerator(0, ""), ("xgboost==3", "nvidia-nccl-cu12==2"), ""),  # one library, and it needs it
    ],
)
def test_a_gpu_is_not_given_to_a_build_that_cannot_use_it_without_a_word(
    wanted: Accelerator, came: tuple[str, ...], words: str
) -> None:
    said = frameworks.check(pins(*came), wanted)
    assert len(said) == (1 if words else 0)
    assert words in "".join(said)


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (("torch==2.15.0", "nvidia-cublas==13"), "torch 2.15.0 is to be had here only as a build for CUDA"),
        (("jax==0.5", "jax-cuda12-plugin==0.5"), "jax-cuda12-plugin"),
        (("tensorflow==2.20", "nvidia-cudnn-cu12==9"), "nvidia-cudnn-cu12"),
    ],
)
def test_no_gigabytes_without_a_gpu(came: tuple[str, ...], words: str) -> None:
    with pytest.raises(ProvisionError, match=words) as caught:
        frameworks.check(pins(*came), accelerator(0, "580"))
    assert caught.value.reason == Reason.LIBRARIES_UNRESOLVABLE
    assert "Ask for a GPU" in str(caught.value)


def test_two_frameworks_that_do_not_go_together() -> None:
    assert frameworks.together(("torch", "tensorflow>=2", "six")).startswith("tensorflow and torch cannot be had")
    assert frameworks.together(("torch", "six")) == ""
