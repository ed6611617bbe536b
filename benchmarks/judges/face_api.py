"""The networks of face-api as OpenVINO graphs, from the raw weights of its package.

The weights are one binary file, described by a manifest: per tensor its name, its shape and, for most, how eight bits
became of the numbers (``q * scale + min``). The graphs are dlib's ResNet for the embedding, and one body of four dense
blocks with separable convolutions, under two heads, for landmarks and expressions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from maskanim.ops import Array

Weights = Mapping[str, Array]

MEAN = np.array([122.782, 117.001, 104.298], np.float32).reshape(1, 3, 1, 1)  # RGB, subtracted before / 255
RECOGNITION_SIDE = 150
EXTRACTOR_SIDE = 112
RESIDUALS = (("32", 3), ("64", 3), ("128", 2), ("256", 2))  # width, blocks that keep the size


def read_weights(manifest: Path, weights: Path) -> dict[str, Array]:
    """The tensors by name, float32 in TensorFlow's layouts."""
    content, at = weights.read_bytes(), 0
    found = {}
    for tensor in json.loads(manifest.read_text("utf-8"))[0]["weights"]:
        quantised = tensor.get("quantization")
        dtype = np.dtype(quantised["dtype"] if quantised else tensor["dtype"])
        size = int(np.prod(tensor["shape"]))
        values = np.frombuffer(content, dtype, size, at).astype(np.float32)
        at += size * dtype.itemsize
        if quantised:
            values = values * np.float32(quantised["scale"]) + np.float32(quantised["min"])
        found[tensor["name"]] = values.reshape(tensor["shape"])
    return found


class _Graph:
    """Writes NCHW layers in OpenVINO's operations over weights in TensorFlow's layouts."""

    def __init__(self, weights: Weights, side: int) -> None:
        import openvino.opset13 as ops

        self.ops, self.weights = ops, weights
        self.input = ops.parameter([1, 3, side, side], np.float32, name="image")
        self.image = ops.divide(ops.subtract(self.input, MEAN), np.float32(255))

    def bias(self, x: Any, name: str) -> Any:
        return self.ops.add(x, self.weights[name].reshape(1, -1, 1, 1))

    def convolve(self, x: Any, name: str, stride: int, pad: str) -> Any:
        kernel = np.ascontiguousarray(self.weights[name].transpose(3, 2, 0, 1))
        return self.ops.convolution(x, kernel, [stride] * 2, [0, 0], [0, 0], [1, 1], auto_pad=pad)

    def separable(self, x: Any, name: str, stride: int = 1) -> Any:
        depthwise = self.weights[f"{name}/depthwise_filter"].transpose(2, 3, 0, 1)[:, :, None]
        spread = self.ops.group_convolution(
            x, np.ascontiguousarray(depthwise), [stride] * 2, [0, 0], [0, 0], [1, 1], auto_pad="same_upper"
        )
        return self.bias(self.convolve(spread, f"{name}/pointwise_filter", 1, "same_upper"), f"{name}/bias")

    def dense_block(self, x: Any, name: str, first: bool) -> Any:
        if first:
            whole = self.bias(self.convolve(x, f"{name}/conv0/filters", 2, "same_upper"), f"{name}/conv0/bias")
        else:
            whole = self.separable(x, f"{name}/conv0", 2)
        total = whole = self.ops.relu(whole)
        for i in (1, 2, 3):
            total = self.ops.add(total, self.separable(whole, f"{name}/conv{i}"))
            whole = self.ops.relu(total)
        return whole

    def scaled(self, x: Any, name: str, stride: int, relu: bool) -> Any:
        pad = "same_upper" if stride == 1 else "valid"
        y = self.bias(self.convolve(x, f"{name}/conv/filters", stride, pad), f"{name}/conv/bias")
        scale = self.weights[f"{name}/scale/weights"].reshape(1, -1, 1, 1)
        y = self.bias(self.ops.multiply(y, scale), f"{name}/scale/biases")
        return self.ops.relu(y) if relu else y

    def residual(self, x: Any, name: str) -> Any:
        y = self.scaled(self.scaled(x, f"{name}/conv1", 1, True), f"{name}/conv2", 1, False)
        return self.ops.relu(self.ops.add(x, y))

    def residual_down(self, x: Any, name: str) -> Any:
        """Half the size; channels that the shortcut lacks are zero, and so is a last row that the body lacks."""
        y = self.scaled(self.scaled(x, f"{name}/conv1", 2, True), f"{name}/conv2", 1, False)
        short = self.ops.avg_pool(x, [2, 2], [0, 0], [0, 0], [2, 2], True, auto_pad="valid")
        sizes = np.array([[tuple(node.output(0).shape)[axis] for axis in range(4)] for node in (y, short)])
        y, short = (self._grown(node, sizes.max(0) - size) for node, size in zip((y, short), sizes, strict=True))
        return self.ops.relu(self.ops.add(y, short))

    def _grown(self, x: Any, by: Any) -> Any:
        return self.ops.pad(x, [0] * 4, by.tolist(), "constant", np.float32(0)) if by.any() else x

    def model(self, output: Any) -> Any:
        import openvino

        output.output(0).get_tensor().set_names({"output"})
        return openvino.Model([output], [self.input])


def recognition(weights: Weights) -> Any:
    """(1, 3, 150, 150) RGB in 0..255 to (1, 128): a face's embedding."""
    graph = _Graph(weights, RECOGNITION_SIDE)
    x = graph.scaled(graph.image, "conv32_down", 2, True)
    x = graph.ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3], auto_pad="valid").output(0)
    for width, blocks in RESIDUALS:
        if width != "32":
            x = graph.residual_down(x, f"conv{width}_down")
        for i in range(blocks):
            x = graph.residual(x, f"conv{width}_{i + 1}")
    x = graph.residual_down(x, "conv256_down_out")
    mean = graph.ops.reduce_mean(x, np.array([2, 3]), keep_dims=False)
    return graph.model(graph.ops.matmul(mean, weights["fc"], False, False))


def _extractor(weights: Weights) -> Any:
    """(1, 3, 112, 112) RGB in 0..255 to the head's numbers."""
    graph = _Graph(weights, EXTRACTOR_SIDE)
    x = graph.image
    for i in range(4):
        x = graph.dense_block(x, f"dense{i}", i == 0)
    mean = graph.ops.reduce_mean(x, np.array([2, 3]), keep_dims=False)  # it is 7x7, and so is face-api's pool
    return graph.model(graph.ops.add(graph.ops.matmul(mean, weights["fc/weights"], False, False), weights["fc/bias"]))


# Landmarks: x and y of 68 points as shares of the square. Expression: seven logits, in the order neutral, happy, sad,
# angry, fearful, disgusted, surprised.
GRAPHS: dict[str, Callable[[Weights], Any]] = {
    "face-api-recognition": recognition,
    "face-api-landmarks": _extractor,
    "face-api-expression": _extractor,
}
