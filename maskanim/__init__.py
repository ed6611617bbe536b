"""maskanim: animate one picture by a driving video, after *Image Animation with Perturbed Masks* (CVPR 2022)."""

import logging
import os
import sys

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # quiet, until a program or a command shows the log

# When they are imported, ONNX Runtime and OpenVINO tell their makers of it, and leave an id in the user's folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO has a silent one in its place
