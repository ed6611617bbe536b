"""ONNX Runtime on the processor: small, and everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime as ort

from maskanim.bundle import Bundle
from maskanim.ops import Array
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.sessions.host import HostRunner
from maskanim.runtime.sessions.session import Session, SessionNets, check_names, processors, refusal
from maskanim.spec import NETWORKS, NetworkName, NetworkSpec

LIBRARY = "ONNX Runtime"
SILENT = 4  # only fatal errors are logged: a failure is raised, and told once


def open_runner(bundle: Bundle, options: RunOptions) -> tuple[HostRunner, str]:
    """`open_sessions` as a runner."""
    sessions, detail = open_sessions(bundle)
    return HostRunner(SessionNets(sessions), bundle.manifest.model.perturbation, options.batch), detail


def open_sessions(bundle: Bundle) -> tuple[dict[NetworkName, Session], str]:
    """Load a bundle's networks.

    Returns:
        The sessions, and a line on what runs them.

    Raises:
        MaskanimError: ONNX Runtime cannot load a network.
    """
    sessions: dict[NetworkName, Session] = {name: _open(bundle, spec) for name, spec in NETWORKS.items()}
    return sessions, f"ONNX Runtime {ort.__version__} on the processor, threads: {processors()}, FP32"


def _open(bundle: Bundle, spec: NetworkSpec) -> Session:
    """For any batch size, in FP32."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = processors()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = SILENT
    # Four networks take turns: threads of one that spin when it has finished slow down the next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    file = bundle.network(spec.name)
    with refusal(f"network {spec.name} in {file}", LIBRARY, "a network that it loads"):
        session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    check_names(spec, names, [node.name for node in session.get_outputs()])
    order = [tensor.name for tensor in spec.inputs]

    def infer(values: Sequence[Array]) -> Array:
        return session.run(None, dict(zip(order, values, strict=True)))[0]

    return Session(spec, LIBRARY, infer)
