"""ONNX Runtime on a GPU, over device memory: the CUDA provider, through IOBinding and the pipeline's own stream."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import onnxruntime as ort

from maskanim.errors import MaskanimError
from maskanim.runtime.cuda.arrays import DeviceArray, DType
from maskanim.runtime.cuda.device import Stream
from maskanim.runtime.cuda.networks import FLOAT, HALF, DeviceNetwork, DeviceSession
from maskanim.runtime.sessions.ort import session_options
from maskanim.runtime.sessions.session import check_names, refusal
from maskanim.spec import NETWORKS, NetworkName, NetworkSpec

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
TYPES: dict[str, DType] = {"tensor(float)": FLOAT, "tensor(float16)": HALF}
OTHER: DType = np.dtype(object)


class OrtNetwork(DeviceNetwork):
    """A network's ONNX file. ONNX Runtime ties a stream to the weights, so that each session loads them anew.

    Args:
        content: float32, or float16 from `half.to_half`.
        device_type: ``cuda``; or ``cpu``, where addresses are the host's and nothing is queued.
    """

    backend = "ONNX Runtime"

    def __init__(self, spec: NetworkSpec, content: bytes, device_type: str = "cuda", index: int = 0) -> None:
        if PROVIDERS[device_type] not in ort.get_available_providers():
            raise MaskanimError(
                title(),
                f"no {PROVIDERS[device_type]}",
                "a build for the GPU",
                "Replace it: pip uninstall onnxruntime, then pip install 'maskanim[gpu]'",
            )
        self.content, self.device_type, self.index = content, device_type, index
        with refusal(f"network {spec.name}", self.backend, "a network that it loads"):
            # On the processor and as it is, because only its signature is read.
            options = session_options()
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            session: Any = ort.InferenceSession(content, options, providers=[PROVIDERS["cpu"]])
        inputs, outputs = session.get_inputs(), session.get_outputs()
        check_names(spec, [node.name for node in inputs], [node.name for node in outputs])
        super().__init__(spec, {node.name: TYPES.get(node.type, OTHER) for node in (*inputs, *outputs)}, None)

    def close(self) -> None:
        self.content = b""

    def _session(self, batch: int, stream: Stream) -> DeviceSession:
        return OrtSession(self, batch, stream)


class OrtSession(DeviceSession):
    """ONNX Runtime's session on the pipeline's stream."""

    def __init__(self, network: OrtNetwork, batch: int, stream: Stream) -> None:
        super().__init__(network, batch, stream)
        self._network = network
        provider: tuple[str, dict[str, str]] = (PROVIDERS[network.device_type], {})
        if network.device_type == "cuda":
            provider[1].update(
                device_id=str(network.index),
                user_compute_stream=str(stream.handle),
                use_tf32="0",  # its 10 bits would make float32 networks worse than float16 ones
            )
        with refusal(f"network {network.spec.name}", network.backend, "a network that it loads"):
            self._session: Any = ort.InferenceSession(network.content, session_options(), providers=[provider])
        if self._session.get_providers()[0] != provider[0]:
            raise MaskanimError(
                f"network {network.spec.name}", f"{network.backend} left {provider[0]} out", "its libraries, and cuDNN"
            )
        self._run_options: Any = ort.RunOptions()
        # The stream orders the work; the host has nothing to wait for.
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._binding: Any = None
        self._bound: tuple[int, ...] = ()

    @property
    def capturable(self) -> bool:
        """Never: its memory arena may allocate in any run."""
        return False

    def close(self) -> None:
        self._session = self._binding = None

    def _enqueue(self, inputs: Mapping[str, DeviceArray], output: DeviceArray) -> None:
        with refusal(f"running network {self.network.spec.name}", self.network.backend, "a run without errors"):
            self._bind(inputs, output)
            self._session.run_with_iobinding(self._binding, self._run_options)

    def _bind(self, inputs: Mapping[str, DeviceArray], output: DeviceArray) -> None:
        addresses = (*(array.address for array in inputs.values()), output.address)
        if addresses == self._bound:
            return
        self._binding = self._session.io_binding()
        place = (self._network.device_type, self._network.index)
        for name, array in inputs.items():
            self._binding.bind_input(name, *place, array.dtype, array.shape, array.address)
        self._binding.bind_output(self.network.spec.output.name, *place, output.dtype, output.shape, output.address)
        self._bound = addresses


def open_networks(
    contents: Mapping[NetworkName, bytes], device_type: str = "cuda", index: int = 0
) -> dict[NetworkName, DeviceNetwork]:
    """The four networks of a model, from their ONNX files; to be closed by the caller.

    Raises:
        MaskanimError: this ONNX Runtime has no such provider, or a file is not the network.
    """
    with ExitStack() as failing:
        networks: dict[NetworkName, DeviceNetwork] = {
            name: failing.enter_context(OrtNetwork(spec, contents[name], device_type, index))
            for name, spec in NETWORKS.items()
        }
        failing.pop_all()
    return networks


def title() -> str:
    """The library and its version."""
    return f"{OrtNetwork.backend} {ort.__version__}"
