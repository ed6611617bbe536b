"""maskanim: animate one picture by a driving video, after *Image Animation with Perturbed Masks* (CVPR 2022)."""

import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskanim.runtime.animator import Animator

__all__ = ["Animator", "__version__"]
__version__ = "0.1.0"

# Python that is started at the top of a checkout finds this folder before what is installed; sub-packages such as
# `runtime` lie beside it there.
if Path(__file__).parents[1].joinpath("pyproject.toml").is_file():
    __path__.append(str(Path(__file__).parents[1]))

logging.getLogger(__name__).addHandler(logging.NullHandler())  # quiet, until a program or a command shows the log

# When they are imported, ONNX Runtime and OpenVINO tell their makers of it, and leave an id in the user's folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO has a silent one in its place


def __getattr__(name: str) -> object:
    """Animator, imported when it is first asked for: what only needs the version or an error waits for nothing."""
    if name == "Animator":
        return import_module("maskanim.runtime.animator").Animator
    raise AttributeError(f"module {__name__} has no attribute {name}")
