"""Each network from its files to something that runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskanim.benchmarks.scoring.nets.runner import build, read
from maskanim.errors import needs_extra
from maskanim.spec import IMAGE_SIZE

if TYPE_CHECKING:
    from maskanim.benchmarks.scoring.nets.runner import OpenVinoNet

FACE_API = {
    "face-api-landmarks": "landmarks",
    "face-api-recognition": "recognition",
    "face-api-expression": "expression",
}


def open_network(name: str, files: Sequence[Path]) -> OpenVinoNet:
    """Open a network of the registry.

    Args:
        name: in `registry.NETWORKS`.
        files: of one of its forms, in that form's order.

    Raises:
        MissingPackageError: what runs it is not installed.
    """
    if name in FACE_API:
        from maskanim.benchmarks.scoring.nets.faceapi import GRAPHS, read_weights

        return build(lambda: GRAPHS[FACE_API[name]](read_weights(*files)))
    if name == "efficientnet-lite0":
        return build(lambda: _efficientnet(files[0]))
    return read(os.fspath(files[0]))


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
