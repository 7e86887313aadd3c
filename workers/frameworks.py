"""Frameworks whose builds are for a CUDA or for none: which build is wanted, and whether it is what came.

torch     local versions (`2.13.0+cu128`, `+cpu`), from an index for each, or wheels on disk
jax       an extra, jax[cuda12]
tensorflow  an extra, tensorflow[and-cuda], and a project of its own without CUDA, tensorflow-cpu

Nothing here asks anybody: decisions over what is wanted and what was resolved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.requirements import Requirement

from common.errors import ProvisionError
from common.lockfile import Pin
from common.states import Reason

# The oldest Linux driver that runs programs of a CUDA major version: "CUDA Toolkit Release Notes", NVIDIA, table
# "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility".
DRIVERS: tuple[tuple[int, tuple[int, ...]], ...] = ((13, (580,)), (12, (525, 60, 13)), (11, (450, 80, 2)))
# Builds of torch that its publisher has had an index for, newest first.
TORCH_BUILDS = {13: ("cu132", "cu130"), 12: ("cu129", "cu128", "cu126", "cu124", "cu121"), 11: ("cu118",)}
TORCH = frozenset({"torch", "torchvision", "torchaudio", "torchtext"})
CPU = "cpu"

_HEAVY = re.compile(r"nvidia-(cublas|cudnn|cusolver|cusparse|cufft)(-cu\d+)?|jax-cuda\d+-(plugin|pjrt)")
_RUNTIME = re.compile(r"nvidia-cuda-runtime(?:-cu(\d+))?")
_BUILD = re.compile(r"cu(\d\d)\d+")


@dataclass(frozen=True)
class Accelerator:
    """What an environment computes on: its GPUs, and the CUDA major versions that their driver runs, best first."""

    gpus: int = 0
    driver: str = ""
    cudas: tuple[int, ...] = ()


def accelerator(gpus: int, driver: str) -> Accelerator:
    """For so many GPUs under a driver ("580.82.07"); one whose version nobody knows is taken for a new one."""
    if not gpus:
        return Accelerator()
    numbers = tuple(int(part) for part in re.findall(r"\d+", driver))
    return Accelerator(gpus, driver, tuple(cuda for cuda, least in DRIVERS if not numbers or numbers >= least))


@dataclass(frozen=True)
class Attempt:
    """One way to choose builds: of torch by name, of the others by CUDA's major version, 0 for none."""

    build: str
    cuda: int = 0
    slim: bool = True  # without CUDA: tensorflow by the project that has none at all


def attempts(wanted: Accelerator, names: Iterable[str]) -> list[Attempt]:
    """Ways to try for libraries of these names, best first."""
    found = set(names)
    if not wanted.cudas:
        return [Attempt(CPU), Attempt(CPU, slim=False)] if "tensorflow" in found else [Attempt(CPU)]
    if TORCH & found:
        return [Attempt(build, cuda) for cuda in wanted.cudas for build in TORCH_BUILDS[cuda]]
    return [Attempt(TORCH_BUILDS[cuda][0], cuda) for cuda in wanted.cudas]


def requirements(libraries: Iterable[str], attempt: Attempt) -> tuple[list[str], list[str]]:
    """What to ask of the resolver for `libraries`, and what overrides the wishes of other libraries."""
    lines, overrides = [], []
    for text in libraries:
        parsed = Requirement(text)
        if parsed.name == "jax" and attempt.cuda and not any(extra.startswith("cuda") for extra in parsed.extras):
            parsed.extras.add(f"cuda{attempt.cuda}")
        elif parsed.name == "tensorflow" and attempt.cuda:
            parsed.extras.add("and-cuda")
        elif parsed.name == "tensorflow" and attempt.slim and not parsed.extras:
            parsed.name = "tensorflow-cpu"
            overrides.append("tensorflow ; sys_platform == 'never'")  # it has the same files
        lines.append(str(parsed))
    return lines, overrides


def implied(pins: Iterable[Pin], direct: Iterable[str], attempt: Attempt, sourced: bool) -> list[str]:
    """Frameworks that other libraries brought in, in a build that nobody chose. `sourced`: builds of torch are here."""
    asked, found = set(direct), []
    names = {pin.name for pin in pins}
    for pin in pins:
        if pin.name in asked:
            continue
        if (
            (pin.name in TORCH and sourced and pin.local != attempt.build)
            or (attempt.cuda and pin.name == "tensorflow" and not any(_HEAVY.fullmatch(name) for name in names))
            or (attempt.cuda and pin.name == "jax" and not any(name.startswith("jax-cuda") for name in names))
        ):
            found.append(pin.name)
    return found


def check(pins: Iterable[Pin], wanted: Accelerator) -> list[str]:
    """What the user should know of these builds, a sentence each. Raises ProvisionError for CUDA without a GPU."""
    by_name = {pin.name: pin for pin in pins}
    heavy = sorted(name for name in by_name if _HEAVY.fullmatch(name))
    if wanted.gpus:
        return [said for said in (_torch(by_name, wanted), _jax(by_name), _tensorflow(by_name, bool(heavy))) if said]
    if not heavy:
        return []
    if torch := by_name.get("torch"):
        raise ProvisionError(
            Reason.LIBRARIES_UNRESOLVABLE,
            f"torch {torch.version} is to be had here only as a build for CUDA, gigabytes that are of no use without a "
            "GPU. Ask for a GPU, or for another version; the operator can set DCLOUD_TORCH_INDEX.",
        )
    raise ProvisionError(
        Reason.LIBRARIES_UNRESOLVABLE,
        f"The libraries bring NVIDIA's for CUDA ({', '.join(heavy)}), gigabytes that are of no use without a GPU. "
        "Ask for a GPU, or leave out what needs them.",
    )


def together(libraries: Iterable[str]) -> str:
    """A sentence for libraries that cannot be had together on a GPU, "" where it is not about frameworks."""
    names = sorted({Requirement(text).name for text in libraries} & {"torch", "tensorflow", "jax"})
    if len(names) < 2:
        return ""
    return (
        f"{' and '.join(names)} cannot be had together for a GPU here: each wants its own versions of NVIDIA's "
        "libraries. Ask for one of them, for other versions, or for both without a GPU. "
    )


def _torch(by_name: dict[str, Pin], wanted: Accelerator) -> str:
    pin = by_name.get("torch")
    if pin is None:
        return ""
    cuda = _cuda(pin, by_name)
    if not cuda:
        return f"torch {pin.version} is a build without CUDA: it cannot use the GPU of this environment."
    if cuda not in wanted.cudas:
        return (
            f"torch {pin.version} is a build for CUDA {cuda}, which driver {wanted.driver} of this host does not run: "
            "it cannot use the GPU of this environment."
        )
    return ""


def _cuda(torch: Pin, by_name: dict[str, Pin]) -> int:
    """The CUDA major version that a build of torch is for, 0 for none."""
    if match := _BUILD.fullmatch(torch.local):
        return int(match[1])
    for name, pin in by_name.items():
        if not torch.local and (match := _RUNTIME.fullmatch(name)):
            return int(match[1] or pin.version.split(".")[0])
    return 0


def _jax(by_name: dict[str, Pin]) -> str:
    if "jax" not in by_name or any(name.startswith("jax-cuda") for name in by_name):
        return ""
    return f"jax {by_name['jax'].version} came without its CUDA plugin: it cannot use the GPU of this environment."


def _tensorflow(by_name: dict[str, Pin], heavy: bool) -> str:
    pin = by_name.get("tensorflow-cpu") or by_name.get("tensorflow")
    if pin is None or (pin.name == "tensorflow" and heavy):
        return ""
    return f"{pin.name} {pin.version} came without CUDA's libraries: it cannot use the GPU of this environment."
