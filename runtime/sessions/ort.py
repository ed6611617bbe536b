"""ONNX Runtime on the processor: small, and everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from maskanim.bundle import Bundle
from maskanim.ops import Array
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.sessions.host import HostRunner
from maskanim.runtime.sessions.session import Session, SessionNets, check_names, loading, processors
from maskanim.spec import NETWORKS, NetworkName, NetworkSpec

SILENT = 4  # only fatal errors are logged: a failure is raised, and told once


class OrtSession(Session):
    """A network loaded by ONNX Runtime, for any batch size, in FP32."""

    backend = "ONNX Runtime"

    def __init__(self, spec: NetworkSpec, session: ort.InferenceSession) -> None:
        super().__init__(spec)
        outputs = [node.name for node in session.get_outputs()]
        check_names(spec, [node.name for node in session.get_inputs()], outputs)
        self._session: Any = session

    def _run(self, inputs: Sequence[Array]) -> Array:
        by_name = {tensor.name: value for tensor, value in zip(self.spec.inputs, inputs, strict=True)}
        return np.asarray(self._session.run(None, by_name)[0], np.float32)

    def _close(self) -> None:
        self._session = None


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


def _open(bundle: Bundle, spec: NetworkSpec) -> OrtSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = processors()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = SILENT
    # Four networks take turns: threads of one that spin when it has finished slow down the next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with loading(spec, bundle.network(spec.name), OrtSession.backend):
        session = ort.InferenceSession(bundle.network(spec.name), options, providers=["CPUExecutionProvider"])
        return OrtSession(spec, session)
