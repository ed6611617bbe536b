"""The driver's answers, through real calls into a library that stands in for it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maskanim import driver
from maskanim.driver import Clocks, Driver, Gpu, first_gpu, read_driver
from maskanim.errors import MaskanimError

SOURCE = Path(__file__).with_name("driver_standin.c")
GIB = 1 << 30


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform == "win32":
        pytest.skip("there is no C compiler to build the stand-in for the driver")
    path = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    subprocess.run([compiler, "-Wall", "-Werror", "-shared", "-fPIC", SOURCE, "-o", path], check=True)
    return os.fspath(path)


def test_what_a_working_driver_says(library: str) -> None:
    first = Gpu(0, "NVIDIA Stand-in 40", (9, 0), 141 * GIB + 40, 140 * GIB, Clocks(345, 1980, 3201, 3202))
    second = Gpu(1, "NVIDIA Stand-in 41", (12, 1), 141 * GIB + 41, 140 * GIB + 1, Clocks(346, 1981, 3202, 3203))
    assert read_driver(library, library) == Driver("595.12.01", (13, 2), (first, second))
    assert (first.architecture, second.architecture) == ("sm_90", "sm_121")
    assert ctypes.CDLL(library).standin_nvml_open() == 0  # NVML was closed again


def test_without_nvml_the_gpus_are_still_there(library: str) -> None:
    found = read_driver(library, "libabsent-nvml.so.1")
    assert found.version is None and found.cuda == (13, 2) and found.trouble is None
    assert [(gpu.name[-2:], gpu.memory_free, gpu.clocks) for gpu in found.gpus] == [
        ("40", None, None),
        ("41", None, None),
    ]


@pytest.mark.parametrize(
    "function", ["nvmlInit_v2", "nvmlDeviceGetHandleByPciBusId_v2", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetClockInfo"]
)
def test_nvml_that_refuses_is_left_out(library: str, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    monkeypatch.setenv(f"STANDIN_{function}", "3")
    found = read_driver(library, library)
    assert len(found.gpus) == 2 and None in (found.gpus[0].memory_free, found.gpus[0].clocks)


@pytest.mark.parametrize(("code", "words"), driver.REFUSALS.items())
def test_cuinit_refuses(library: str, monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("STANDIN_cuInit", str(code))
    trouble = f"cuInit answered CUDA_ERROR_STANDIN ({code}): {words}"
    assert read_driver(library, library) == Driver("595.12.01", (13, 2), (), trouble)


def test_hidden_gpus_are_explained(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("STANDIN_cuInit", "100")
    assert str(read_driver(library).trouble).endswith("may use; CUDA_VISIBLE_DEVICES is ''")


def test_no_gpu_at_all(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_COUNT", "0")
    assert "no GPU" in str(read_driver(library).trouble)


def test_an_error_that_nobody_knows(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_cuDeviceGetName", "4711")
    assert read_driver(library).trouble == "cuDeviceGetName answered error 4711: the driver does not work"


def test_no_driver_version(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_cuDriverGetVersion", "999")
    found = read_driver(library, library)
    assert found.cuda is None and found.version == "595.12.01" and "(999)" in str(found.trouble)


def test_no_driver() -> None:
    found = read_driver("libabsent-cuda.so.1", "libabsent-nvml.so.1")
    assert (found.version, found.cuda, found.gpus) == (None, None, ())
    assert "not installed" in str(found.trouble) and "libabsent-cuda.so.1" in str(found.trouble)


def test_another_library_of_that_name(tmp_path: Path, library: str) -> None:
    """Some library without the functions, and a file that is no library."""
    assert "it has no cuDriverGetVersion" in str(read_driver("libm.so.6").trouble)
    text = tmp_path / "libcuda.so.1"
    text.write_text("not a library")
    assert "does not load" in str(read_driver(os.fspath(text)).trouble)


def test_the_first_gpu_or_why_not(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver.read_driver, "__defaults__", (library, library))
    assert first_gpu().index == 0
    monkeypatch.setenv("STANDIN_cuInit", "803")
    with pytest.raises(MaskanimError, match=r"GPU: cuInit answered .* different versions.*; expected an NVIDIA GPU"):
        first_gpu()
