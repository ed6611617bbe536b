"""What importing does not bring in."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIBRARIES = {"torch", "onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"}


@pytest.mark.parametrize(
    "module",
    [
        "maskanim",
        "maskanim.runtime",
        "maskanim.runtime.loop",
        "maskanim.runtime.cli",
        "maskanim.runtime.jobs",
        "maskanim.runtime.live",
    ],
)
def test_importing_brings_in_no_inference_library(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert module in loaded and not LIBRARIES & set(loaded)
