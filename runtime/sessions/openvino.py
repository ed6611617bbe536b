"""OpenVINO on the processor: by far the fastest library there."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import openvino as ov

from maskanim.bundle import Bundle
from maskanim.ops import Array
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.sessions.host import HostRunner
from maskanim.runtime.sessions.session import Session, SessionNets, check_names, loading, processors
from maskanim.spec import BF16_NETWORKS, NETWORKS, REDUCED_FRAME_PSNR, NetworkName, NetworkSpec

DEVICE = "CPU"
# One for the whole process, and never given up. A core gives the thread that first compiles with it another signal
# stack, and unmaps that stack at its own end; of two cores that end in the order in which they began, the second puts
# the first one's stack back, and the next signal with a handler in Python is a segmentation fault (2026.4).
CORE = ov.Core()


class OpenVinoSession(Session):
    """A network compiled by OpenVINO, for any batch size: fixed shapes were no faster."""

    backend = "OpenVINO"

    def __init__(self, spec: NetworkSpec, compiled: ov.CompiledModel) -> None:
        super().__init__(spec)
        inputs = [port.any_name for port in compiled.inputs]
        check_names(spec, inputs, [port.any_name for port in compiled.outputs])
        self._order = [inputs.index(tensor.name) for tensor in spec.inputs]
        self._request: Any = compiled.create_infer_request()

    def _run(self, inputs: Sequence[Array]) -> Array:
        by_port = dict(zip(self._order, inputs, strict=True))
        # Outputs are not shared: the request would overwrite them in its next run.
        output = self._request.infer(by_port, share_inputs=True, share_outputs=False)[0]
        return np.asarray(output, np.float32)

    def _close(self) -> None:
        self._request = None


def open_runner(bundle: Bundle, options: RunOptions) -> tuple[HostRunner, str]:
    """`open_sessions` as a runner."""
    sessions, detail = open_sessions(bundle)
    return HostRunner(SessionNets(sessions), bundle.manifest.model.perturbation, options.batch), detail


def open_sessions(bundle: Bundle) -> tuple[dict[NetworkName, Session], str]:
    """Compile a bundle's networks; r, l and h in BF16 where the processor has it and the model survives it.

    Returns:
        The sessions, and a line on what runs them.

    Raises:
        MaskanimError: OpenVINO cannot load a network.
    """
    bf16 = "BF16" in CORE.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES") and _survives_bf16(bundle)
    with ThreadPoolExecutor(len(NETWORKS)) as threads:  # compiling uses one core each
        opening = {
            name: threads.submit(_open, bundle, spec, bf16 and name in BF16_NETWORKS) for name, spec in NETWORKS.items()
        }
        sessions: dict[NetworkName, Session] = {name: opened.result() for name, opened in opening.items()}
    version, processor = ov.__version__.split("-")[0], CORE.get_property(DEVICE, "FULL_DEVICE_NAME")
    precision = f"{' and '.join(BF16_NETWORKS)} in BF16" if bf16 else "FP32"
    return sessions, f"OpenVINO {version}, {processor}, threads: {processors()}, {precision}"


def _survives_bf16(bundle: Bundle) -> bool:
    """As export measured it; a bundle without that figure is trusted."""
    parity = bundle.manifest.parity
    return parity is None or parity.bf16_frame_psnr is None or parity.bf16_frame_psnr >= REDUCED_FRAME_PSNR


def _open(bundle: Bundle, spec: NetworkSpec, bf16: bool) -> OpenVinoSession:
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "INFERENCE_NUM_THREADS": processors(),
    }
    with loading(spec, bundle.network(spec.name), OpenVinoSession.backend):
        return OpenVinoSession(spec, CORE.compile_model(bundle.network(spec.name), DEVICE, config))
