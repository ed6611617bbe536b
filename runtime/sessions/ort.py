"""ONNX Runtime on the processor: small, and everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import onnxruntime as ort

from maskanim.bundle import Bundle
from maskanim.ops import Array
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.sessions.host import HostRunner
from maskanim.runtime.sessions.precision import Library, Precision, int8_network, open_in_best
from maskanim.runtime.sessions.session import Session, SessionNets, check_names, processors, refusal
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName

LIBRARY = "ONNX Runtime"
SILENT = 4  # only fatal errors are logged: a failure is raised, and told once


def open_runner(bundle: Bundle, options: RunOptions) -> tuple[HostRunner, str]:
    """Load a bundle's networks, in FP32 or INT8.

    Returns:
        The runner, and a line on what runs it.

    Raises:
        MaskanimError: ONNX Runtime cannot load a network.
    """
    name = f"ONNX Runtime {ort.__version__} on the processor"
    library = Library(name, dict.fromkeys(NETWORK_NAMES, "fp32"), partial(_open, bundle))
    sessions, precision = open_in_best(bundle, library, options.least_psnr)
    runner = HostRunner(SessionNets(sessions), bundle.manifest.model.perturbation, options.batch)
    return runner, f"{name}, threads: {processors()}, {precision}"


def session_options() -> ort.SessionOptions:
    """Those of every session here, also of those on a GPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = processors()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = SILENT
    # Four networks take turns: threads of one that spin when it has finished slow down the next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open(bundle: Bundle, name: NetworkName, precision: Precision) -> Session:
    """For any batch size."""
    spec, file = NETWORKS[name], bundle.network(name)
    with refusal(f"network {name} in {file}", LIBRARY, "a network that it loads"):
        model = int8_network(bundle, name) if precision == "int8" else file
        session = ort.InferenceSession(model, session_options(), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    check_names(spec, names, [node.name for node in session.get_outputs()])
    order = [tensor.name for tensor in spec.inputs]

    def infer(values: Sequence[Array]) -> Array:
        return session.run(None, dict(zip(order, values, strict=True)))[0]

    return Session(spec, LIBRARY, infer)
