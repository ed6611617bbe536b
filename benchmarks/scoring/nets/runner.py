"""Running a network over a batch of pictures with OpenVINO, in float32 on every processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from maskanim.errors import needs_extra
from maskanim.ops import Array

SUBJECT = "the evaluation networks"


class Runs(Protocol):
    """A network: (N, ...) in the layout and range of its own, to its outputs by name, each (N, ...) float32."""

    def __call__(self, batch: NDArray[Any], /) -> dict[str, Array]: ...


class OpenVinoNet:
    """One compiled network.

    Several of these networks have a batch of one written into their graph. So a batch is a queue of pictures, which
    as many streams work off as the processor runs best.

    Args:
        model: an openvino.Model of one input, whose first axis is a batch of one.
    """

    def __init__(self, model: Any) -> None:
        with needs_extra(SUBJECT, "bench"):
            import openvino

            from maskanim.runtime.sessions.openvino import CORE, DEVICE

        # Without the hint, processors with BF16 would round the scores to three digits.
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
        self._compiled = CORE.compile_model(model, DEVICE, settings)
        self._queue = openvino.AsyncInferQueue(self._compiled)
        self._names = [output.any_name for output in self._compiled.outputs]

    def __call__(self, batch: NDArray[Any]) -> dict[str, Array]:
        found: list[list[Array]] = [[] for _ in batch]

        def keep(request: Any, i: int) -> None:
            found[i] = [tensor.data.copy() for tensor in request.output_tensors]

        self._queue.set_callback(keep)
        for i, picture in enumerate(batch):
            self._queue.start_async({0: picture[None]}, i)
        self._queue.wait_all()
        return {name: np.concatenate([each[k] for each in found]) for k, name in enumerate(self._names)}


def read(path: str) -> OpenVinoNet:
    """A network in a file that OpenVINO reads: ONNX or TFLite."""
    with needs_extra(SUBJECT, "bench"):
        from maskanim.runtime.sessions.openvino import CORE
    return OpenVinoNet(CORE.read_model(path))


def build(make: Callable[[], Any]) -> OpenVinoNet:
    """A network that `make` writes with OpenVINO's operations."""
    with needs_extra(SUBJECT, "bench"):
        model = make()
    return OpenVinoNet(model)
