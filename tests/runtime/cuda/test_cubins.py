"""The kernels compile for every kind of GPU, on a machine with none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.runtime.cuda.kernels import KERNELS, SOURCE, compile_cubin

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


@pytest.fixture(scope="module")
def nvrtc() -> None:
    if find_spec("cuda") is None or find_spec("cuda.core") is None:
        reason = "cubins need cuda-core"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_cubin_holds_every_kernel(architecture: str) -> None:
    sections = re.findall(rb"\0\.text\.(\w+)(?=\0)", compile_cubin(architecture))
    assert {section.decode() for section in sections} == set(KERNELS)


@pytest.mark.usefixtures("nvrtc")
def test_an_unknown_architecture_is_told() -> None:
    with pytest.raises(
        MaskanimError, match=r"not compiled for sm_12 .*expected NVRTC, and an architecture that it knows"
    ):
        compile_cubin("sm_12")


@pytest.mark.usefixtures("nvrtc")
def test_what_nvrtc_refuses_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.cu"
    broken.write_text("no such thing;\n")
    monkeypatch.setattr("maskanim.runtime.cuda.kernels.SOURCE", broken)
    with pytest.raises(MaskanimError, match="error: "):
        compile_cubin.__wrapped__("sm_86")


@pytest.mark.usefixtures("nvrtc")
def test_nothing_is_fused_where_equality_to_the_bit_is_promised() -> None:
    """What is added to comes from mul.rn, which the assembler never fuses."""
    ptx = _ptx()
    assert "fma." not in ptx
    upscale = ptx.split(".entry upscale(")[1].split(".entry")[0]
    assert "mul.rn.f32" in upscale and "mul.f32" not in upscale


def _ptx() -> str:
    """The step before a cubin; cuda-core itself makes it only where there is a driver."""
    from cuda.bindings import nvrtc

    _, program = nvrtc.nvrtcCreateProgram(SOURCE.read_bytes(), b"kernels.cu", 0, [], [])
    nvrtc.nvrtcCompileProgram(program, 2, [b"--gpu-architecture=sm_86", b"--std=c++17"])
    _, size = nvrtc.nvrtcGetPTXSize(program)
    ptx = b" " * size
    nvrtc.nvrtcGetPTX(program, ptx)
    return ptx.decode()


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    with pytest.raises(MissingPackageError, match=r"cuda-core is not installed.*maskanim\[gpu\]"):
        compile_cubin.__wrapped__("sm_86")


def test_the_source_needs_no_header() -> None:
    """The packages that bring NVRTC bring no CUDA headers."""
    assert "#include" not in SOURCE.read_text("utf-8")


def test_importing_the_table_does_not_import_cuda() -> None:
    code = "import sys, maskanim.runtime.cuda.kernels; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "maskanim.runtime.cuda.kernels" in loaded
    assert not [name for name in loaded if name.split(".")[0] in ("cuda", "pycuda")]
