"""OpenVINO on the processor: by far the fastest library there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

import openvino as ov

from maskanim.bundle import Bundle
from maskanim.ops import Array
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.sessions.host import HostRunner
from maskanim.runtime.sessions.precision import (
    LIMIT_VARIABLE,
    Library,
    Precision,
    Precisions,
    int8_network,
    open_in_best,
)
from maskanim.runtime.sessions.session import Session, SessionNets, check_names, processors, refusal
from maskanim.spec import BF16_NETWORKS, NETWORKS, NetworkName

LIBRARY, DEVICE = "OpenVINO", "CPU"
# One for the whole process, and never given up. A core gives the thread that first compiles with it another signal
# stack, and unmaps that stack at its own end; of two cores that end in the order in which they began, the second puts
# the first one's stack back, and the next signal with a handler in Python is a segmentation fault (2026.4).
CORE = ov.Core()


def open_runner(bundle: Bundle, options: RunOptions) -> tuple[HostRunner, str]:
    """Compile a bundle's networks: r, l and h in BF16 where the processor has it and the model survives it, or in INT8.

    Returns:
        The runner, and a line on what runs it.

    Raises:
        MaskanimError: OpenVINO cannot load a network.
    """
    # What the model keeps, as export measured it; a bundle without that figure is trusted.
    parity = bundle.manifest.parity
    psnr = parity.bf16_frame_psnr if parity else None
    bf16 = _has_bf16() and (psnr is None or psnr >= options.least_psnr)
    usual: Precisions = {name: "bf16" if bf16 and name in BF16_NETWORKS else "fp32" for name in NETWORKS}
    version, processor = ov.__version__.split("-")[0], CORE.get_property(DEVICE, "FULL_DEVICE_NAME")
    name = f"OpenVINO {version}, {processor}"
    library = Library(name, usual, partial(_open, bundle, bf16))
    sessions, precision = open_in_best(bundle, library, options.least_psnr)
    runner = HostRunner(SessionNets(sessions), bundle.manifest.model.perturbation, options.batch)
    return runner, f"{name}, threads: {processors()}, {precision}"


def _has_bf16() -> bool:
    """OpenVINO tells what the processor has, also where it is told to do without."""
    limit = os.environ.get(LIMIT_VARIABLE, "ALL").upper()
    allowed = limit in ("ALL", "DEFAULT") or "BF16" in limit or "AMX" in limit or "FP16" in limit
    return allowed and "BF16" in CORE.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")


def _open(bundle: Bundle, bf16: bool, name: NetworkName, precision: Precision) -> Session:
    """For any batch size: fixed shapes were no faster. What of an INT8 network stays in float is in BF16 as well."""
    reduced = precision == "bf16" or (precision == "int8" and bf16 and name in BF16_NETWORKS)
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if reduced else "f32",
        "INFERENCE_NUM_THREADS": processors(),
    }
    spec, file = NETWORKS[name], bundle.network(name)
    with refusal(f"network {name} in {file}", LIBRARY, "a network that it loads"):
        model = CORE.read_model(int8_network(bundle, name)) if precision == "int8" else file
        compiled = CORE.compile_model(model, DEVICE, config)
        request = compiled.create_infer_request()
    inputs = [port.any_name for port in compiled.inputs]
    check_names(spec, inputs, [port.any_name for port in compiled.outputs])
    order = [inputs.index(tensor.name) for tensor in spec.inputs]

    def infer(values: Sequence[Array]) -> Array:
        # Outputs are not shared: the request would overwrite them in its next run.
        return request.infer(dict(zip(order, values, strict=True)), share_inputs=True, share_outputs=False)[0]

    return Session(spec, LIBRARY, infer)
