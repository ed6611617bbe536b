"""Which processes a run joins, by what torchrun and SLURM say."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
import torch

from maskanim.errors import MaskanimError
from maskanim.train import launch
from maskanim.train.launch import open_fabric

TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1"}
SLURM = {"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2", "SLURM_PROCID": "3",
         "SLURM_JOB_NAME": "training"}  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, (1, 1)), (TORCHRUN, (4, 2)), (SLURM, (4, 2)), ({**SLURM, "SLURM_JOB_NAME": "bash"}, (1, 1))],
)
def test_processes(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: tuple[int, int]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launch._processes() == expected


def test_a_single_process_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "has_bf16_kernels", lambda: True)
    fabric = open_fabric("cpu", "bf16")
    assert (fabric.world_size, fabric.is_global_zero, fabric.device) == (1, True, torch.device("cpu"))
    with fabric.autocast():
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16 and torch.is_autocast_enabled("cpu")


def test_fp32_where_there_are_no_kernels_for_bf16(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "maskanim")
    monkeypatch.setattr(launch, "has_bf16_kernels", lambda: False)
    with open_fabric("cpu", "bf16").autocast():
        assert not torch.is_autocast_enabled("cpu")
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("precision: fp32, as this processor has no")
    open_fabric("cpu", "fp32")
    assert len(caplog.messages) == 1  # nothing was replaced


def test_a_processor_without_kernels_for_bf16_is_known() -> None:
    program = "from maskanim.networks.precision import has_bf16_kernels as has; print(has())"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False"]


@pytest.mark.parametrize("device", ["cuda:9", "tpu", "meta"])
def test_devices_that_are_not_there(device: str) -> None:
    with pytest.raises(MaskanimError, match=f"--device {device}"):
        open_fabric(device, "fp32")


def test_an_environment_that_does_not_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """SLURM knows of eight tasks, but not how many are on a node."""
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(MaskanimError, match="ntasks-per-node"):
        open_fabric("cpu", "fp32")
