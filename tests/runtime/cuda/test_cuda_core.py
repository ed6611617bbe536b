"""cuda-core itself over a stand-in for NVIDIA's driver: no GPU, and nothing of cuda-core is replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskanim.driver import Driver, Gpu
from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.runtime.cuda import device as device_module
from maskanim.runtime.cuda.device import NEXT_STEPS, open_device

NOTHING_HELD = {"memory": 0, "stream": 0, "event": 0, "graph": 0}


def test_all_of_it_and_the_whole_pipeline(standin: Any, tmp_path: Path) -> None:
    told = standin.run("cuda-core", tmp_path)
    assert told == {
        "device": "GPU 0 (Stand-in 0)",
        "capability": [8, 6],
        "memory": 8 << 30,
        "upscale": 0,
        "fixed_threshold": 0,
        "graph": [0, 0],
        "graphs": False,
        "held": NOTHING_HELD,
    }
    # Float32 sums in another order may round to the next level.
    assert np.abs(np.load(tmp_path / "frames.npy").astype(int) - standin.wanted()).max() <= 1


@pytest.mark.parametrize(
    ("function", "code", "told"),
    [
        ("cuMemAlloc", 2, "allocating 0.0 MiB: CUDA_ERROR_OUT_OF_MEMORY, 3.0 of 8192 MiB are free"),
        ("cuMemAllocHost", 2, "page-locking 0.5 MiB of the host's memory: CUDA_ERROR_OUT_OF_MEMORY"),
        ("cuStreamCreateWithPriority", 700, "creating a stream: CUDA_ERROR_ILLEGAL_ADDRESS; expected no error. Start"),
        ("cuEventCreate", 700, "creating an event: Failed to create CUDA event"),
        ("cuLibraryLoadData", 200, "loading its kernels: CUDA_ERROR_INVALID_IMAGE; expected no error. Update NVIDIA's"),
        ("cuLibraryGetKernel", 700, "loading its kernels: CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("cuLaunchKernelEx", 700, "launching upscale: CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("cuMemcpyHtoDAsync", 700, "copying to it: CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("cuMemcpyDtoHAsync", 700, "copying from it: CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("cuMemcpyDtoDAsync", 700, "copying: CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("cuStreamSynchronize", 700, "waiting for its work: CUDA_ERROR_ILLEGAL_ADDRESS"),
        (
            "cuStreamWaitEvent",
            906,
            "waiting for an event: CUDA_ERROR_STREAM_CAPTURE_IMPLICIT; expected no error. Run with",
        ),
        ("cuEventRecord", 700, "recording an event: CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("cuStreamBeginCapture", 906, "capturing a graph: CUDA_ERROR_STREAM_CAPTURE_IMPLICIT"),
        ("cuStreamEndCapture", 906, "capturing a graph: "),
        ("cuGraphInstantiateWithParams", 2, "capturing a graph: CUDA_ERROR_OUT_OF_MEMORY, 3.0 of 8192 MiB are free"),
        ("cuGraphLaunch", 700, "launching a graph: CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("cuDevicePrimaryCtxRetain", 2, "GPU 0: CUDA_ERROR_OUT_OF_MEMORY; expected a GPU that opens"),
    ],
)
def test_each_error_is_told_in_one_line_and_nothing_is_left(
    standin: Any, tmp_path: Path, function: str, code: int, told: str
) -> None:
    found = standin.run("cuda-core", tmp_path, **{f"STANDIN_{function}": str(code)})
    assert told in found["error"] and "\n" not in found["error"]
    assert found["held"] == NOTHING_HELD


def test_the_errors_that_have_advice_are_the_drivers() -> None:
    known = pytest.importorskip("cuda.bindings.driver").CUresult.__members__
    assert set(NEXT_STEPS) <= set(known)


def test_without_a_driver_there_is_one_clear_line() -> None:
    lines = (
        "from maskanim.errors import MaskanimError",
        "from maskanim.runtime.cuda.device import open_device",
        "import maskanim.runtime.cuda.cuda_core",
        "try:",
        "    open_device()",
        "except MaskanimError as error:",
        "    print(error)",
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("GPU 0: ") and done.stdout.count("\n") == 1, done.stderr


def test_an_unknown_binding() -> None:
    with pytest.raises(MaskanimError, match="CUDA binding cupy: no such binding; expected one of cuda-core, pycuda"):
        open_device("cupy")


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(0, "one", (9, 0), 2**30)
    monkeypatch.setattr(device_module, "read_driver", lambda: Driver(gpus=(gpu,)))
    with pytest.raises(MaskanimError, match="GPU 1: the driver finds 1; expected an NVIDIA GPU with its driver"):
        open_device(index=1)


@pytest.mark.parametrize(("binding", "package"), [("cuda-core", "cuda"), ("pycuda", "pycuda")])
def test_a_binding_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, binding: str, package: str) -> None:
    monkeypatch.setattr(device_module, "read_driver", lambda: Driver(gpus=(Gpu(0, "one", (9, 0), 2**30),)))
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, f"maskanim.runtime.cuda.{binding.replace('-', '_')}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=f"CUDA binding {binding}: the package {package}.* is not installed"):
        open_device(binding)
