"""The PyCUDA binding over a stand-in for PyCUDA: PyCUDA is source only and needs the CUDA toolkit to be installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import helpers

BINDING = Path(helpers.__file__).parent / "pycuda_standin"
NOTHING_HELD = {"memory": 0, "stream": 0, "event": 0, "graph": 0}


def run(standin: Any, output: Path, **environment: str) -> dict[str, Any]:
    told: dict[str, Any] = standin.run("pycuda", output, BINDING, **environment)
    return told


def test_all_of_it_and_the_whole_pipeline(standin: Any, tmp_path: Path) -> None:
    assert run(standin, tmp_path) == {
        "device": "GPU 0 (Stand-in 0)",
        "capability": [8, 6],
        "memory": 8 << 30,
        "upscale": 0,
        "fixed_threshold": 0,
        "graph": None,
        "graphs": False,
        "held": NOTHING_HELD,
    }
    # Float32 sums in another order may round to the next level.
    assert np.abs(np.load(tmp_path / "frames.npy").astype(int) - standin.wanted()).max() <= 1


@pytest.mark.parametrize(
    ("function", "code", "told"),
    [
        ("cuDevicePrimaryCtxRetain", 2, "GPU 0: cuDevicePrimaryCtxRetain failed: out of memory; expected a GPU that"),
        ("cuMemAlloc", 2, "allocating 0.0 MiB: CUDA_ERROR_OUT_OF_MEMORY, 3.0 of 8192 MiB are free"),
        ("cuMemHostAlloc", 2, "page-locking 0.5 MiB of the host's memory: CUDA_ERROR_OUT_OF_MEMORY"),
        ("cuStreamCreate", 700, "creating a stream: cuStreamCreate failed: illegal address"),
        ("cuEventCreate", 700, "creating an event: cuEventCreate failed"),
        ("cuLibraryLoadData", 200, "loading its kernels: cuModuleLoadDataEx failed"),
        ("cuLaunchKernelEx", 700, "launching upscale: cuLaunchKernel failed: illegal address"),
        ("cuMemcpyHtoDAsync", 700, "copying to it: cuMemcpyHtoDAsync failed: illegal address"),
        ("cuStreamSynchronize", 700, "waiting for its work: cuStreamSynchronize failed"),
        ("cuEventRecord", 700, "recording an event: cuEventRecord failed"),
        ("cuCtxSynchronize", 700, "waiting for its work: cuCtxSynchronize failed"),
    ],
)
def test_each_error_is_told_in_one_line_and_nothing_is_left(
    standin: Any, tmp_path: Path, function: str, code: int, told: str
) -> None:
    found = run(standin, tmp_path, **{f"STANDIN_{function}": str(code)})
    assert told in found["error"] and "\n" not in found["error"]
    assert found["held"] == NOTHING_HELD
