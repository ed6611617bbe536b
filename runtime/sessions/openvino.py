"""OpenVINO on the processor: by far the fastest library there."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import openvino as ov

from maskanim.bundle import Bundle
from maskanim.ops import Array
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.sessions.host import HostRunner
from maskanim.runtime.sessions.session import Session, SessionNets, check_names, processors, refusal
from maskanim.spec import BF16_NETWORKS, NETWORKS, REDUCED_FRAME_PSNR, NetworkName, NetworkSpec

LIBRARY, DEVICE = "OpenVINO", "CPU"
# One for the whole process, and never given up. A core gives the thread that first compiles with it another signal
# stack, and unmaps that stack at its own end; of two cores that end in the order in which they began, the second puts
# the first one's stack back, and the next signal with a handler in Python is a segmentation fault (2026.4).
CORE = ov.Core()


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


def _open(bundle: Bundle, spec: NetworkSpec, bf16: bool) -> Session:
    """For any batch size: fixed shapes were no faster."""
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "INFERENCE_NUM_THREADS": processors(),
    }
    file = bundle.network(spec.name)
    with refusal(f"network {spec.name} in {file}", LIBRARY, "a network that it loads"):
        compiled = CORE.compile_model(file, DEVICE, config)
        request = compiled.create_infer_request()
    inputs = [port.any_name for port in compiled.inputs]
    check_names(spec, inputs, [port.any_name for port in compiled.outputs])
    order = [inputs.index(tensor.name) for tensor in spec.inputs]

    def infer(values: Sequence[Array]) -> Array:
        # Outputs are not shared: the request would overwrite them in its next run.
        return request.infer(dict(zip(order, values, strict=True)), share_inputs=True, share_outputs=False)[0]

    return Session(spec, LIBRARY, infer)
