"""Running a network over a batch of pictures with OpenVINO, in float32 on every processor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.judges import face_api
from maskanim.benchmarks.judges.networks import SUBJECT
from maskanim.errors import needs_extra
from maskanim.ops import Array
from maskanim.spec import IMAGE_SIZE


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


def open_network(name: str, files: Sequence[Path]) -> OpenVinoNet:
    """Open a network.

    Args:
        name: in `networks.NETWORKS`.
        files: of one of its forms, in that form's order.

    Raises:
        MissingPackageError: what runs it is not installed.
    """
    with needs_extra(SUBJECT, "bench"):
        from maskanim.runtime.sessions.openvino import CORE
    if name in face_api.GRAPHS:
        return OpenVinoNet(face_api.GRAPHS[name](face_api.read_weights(*files)))
    if name == "efficientnet-lite0":
        return OpenVinoNet(_efficientnet(files[0]))
    return OpenVinoNet(CORE.read_model(os.fspath(files[0])))  # ONNX or TFLite


def _efficientnet(weights: Path) -> object:
    """The features before the classifier, averaged over the picture: (1, 3, 256, 256) to (1, 1280)."""
    with needs_extra("network efficientnet-lite0", "train"):
        import openvino
        import torch
        from efficientnet_lite_pytorch import EfficientNet
    net = EfficientNet.from_name("efficientnet-lite0").eval().requires_grad_(False)
    net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    net.forward = lambda image: net.extract_features(image).mean((2, 3))
    shape = [1, 3, IMAGE_SIZE, IMAGE_SIZE]
    model = openvino.convert_model(net, example_input=torch.zeros(shape), input=shape)
    model.output(0).get_tensor().set_names({"features"})
    return model
