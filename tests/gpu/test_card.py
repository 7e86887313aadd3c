"""A real card: the inventory is what `nvidia-smi` says, and an environment computes on the card that it was given."""

from __future__ import annotations

import subprocess
from dataclasses import replace

from lab import Heard, Lab

from workers import gpus
from workers.cards import Cards

PRODUCT = """
import torch
assert torch.cuda.device_count() == 1, torch.cuda.device_count()
a, b = torch.rand(512, 512), torch.rand(512, 512)
error = (a.cuda() @ b.cuda()).cpu() - a @ b
assert error.abs().max() < 1, error.abs().max()
import subprocess
print(subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout)
"""


def smi(*fields: str) -> list[list[str]]:
    """What `nvidia-smi` says of each card."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [line.split(", ") for line in done.stdout.splitlines()]


def test_the_inventory_is_what_nvidia_smi_says() -> None:
    found = Cards().driver()
    whole = sorted([gpu.uuid, gpu.model, str(gpu.memory_mib)] for gpu in found.gpus if not gpu.parent)
    said = smi("uuid", "name", "memory.total", "driver_version", "mig.mode.current")
    assert whole == sorted(row[:3] for row in said if row[4] != "Enabled")
    assert {row[3] for row in said} == {found.version}
    assert all(gpu.healthy for gpu in found.gpus)


def test_what_is_used_is_what_nvidia_smi_says() -> None:
    said = {uuid: int(used) * 2**20 for uuid, used in smi("uuid", "memory.used")}
    for uuid, use in gpus.uses(set(said)).items():
        assert abs(use.memory_bytes - said[uuid]) < 2**30
        assert use.busy_percent is not None
        assert 0 <= use.busy_percent <= 100


def test_an_environment_computes_on_the_card_that_it_was_given(lab: Lab) -> None:
    card = lab.host.cards.driver().gpus[-1]
    job = replace(lab.job("torch", ram="8GiB", cpu="2", storage="10GiB", gpu="1"), gpus=(card.uuid,))
    lab.jobs[job.id] = job
    lab.host.start(job, Heard())
    assert card.uuid in lab.python(job, PRODUCT)
