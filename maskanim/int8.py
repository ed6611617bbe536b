"""A bundle's ONNX network in INT8: the same graph with explicit Q/DQ around its convolutions, made when it is loaded.

OpenVINO, ONNX Runtime, TensorRT and TensorRT-RTX all read this form. A bundle keeps only the ranges that calibration
found, so that a network's weights are stored once.

Processors get unsigned activations with a zero point. Without VNNI they add two neighbouring products in 16 bits, which
two large weights overflow (the demo's h fell from 55 to 29 dB), so that weights are scaled by the largest sum of two
neighbours (`largest_sums`). TensorRT takes signed activations around zero alone, and adds in 32 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskanim.errors import MaskanimError, needs_extra
from maskanim.half import CONVOLUTIONS, HALF, read_constants

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

Ranges = Mapping[str, tuple[float, float]]
# Rounding what they take makes them move 8 bits instead of 32: the demo's h took 40 ms instead of 72 with AVX2.
CARRIERS = ("AveragePool", "Concat")
EIGHT_BITS = 127  # the largest weight


def require_limit(least_psnr: float) -> None:
    """Raise a MaskanimError where a limit of the final frame, in dB, is none."""
    if not 0 < least_psnr <= 100:
        raise MaskanimError("--int8-psnr", f"{least_psnr:g}", "a number of dB above 0, at most 100")


def rounded_tensors(content: bytes) -> list[str]:
    """The tensors of a network's ONNX file that `to_int8` rounds, whose ranges it needs; raises as `to_int8`."""
    from onnx import ModelProto

    graph = ModelProto.FromString(content).graph
    _constants(graph)
    floats = _float_outputs(graph)
    return [*dict.fromkeys(name for node in graph.node for name in _rounded_inputs(node, floats))]


def to_int8(content: bytes, ranges: Ranges, *, engine: bool = False, extra: str = "cpu") -> bytes:
    """Convert a network's ONNX file; equal input gives equal bytes.

    The last convolution, which makes the picture or the mask, stays in float, and so does m's anti-aliasing.

    Args:
        content: the bundle's float32 file, or with `engine` also what `half.to_half` makes of it.
        ranges: the smallest and the largest value of each of `rounded_tensors`.
        engine: for TensorRT; else for processors.
        extra: what to install where the package onnx is missing.

    Raises:
        MissingPackageError: no onnx.
        MaskanimError: a weight is not finite.
    """
    with needs_extra("INT8", extra):
        from onnx import ModelProto
    model = ModelProto.FromString(content)
    _Conversion(model.graph, ranges, engine).run()
    return model.SerializeToString(deterministic=True)


def largest_sums(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest sum of two neighbouring weights of one sign, for each output channel.

    Processors lay a convolution's weights out with the input channels of a place side by side, or with the places of a
    channel. Neighbours of either order count; with 127 for this sum, two rounded ones add up to 128 at most, and
    255 * 128 is within 16 bits.

    Args:
        weight: (outputs, inputs, height, width) float32.

    Returns:
        (outputs,) float32, at least the largest absolute weight.
    """
    by_channel = weight.reshape(len(weight), -1)
    by_place = np.moveaxis(weight, 1, -1).reshape(len(weight), -1)
    sums = [np.abs(by_channel).max(1)]
    for row in (by_channel, -by_channel, by_place, -by_place):
        positive = np.maximum(row, 0)
        sums.append((positive[:, 1:] + positive[:, :-1]).max(1, initial=0))
    return np.max(sums, 0)


def _float_outputs(graph: GraphProto) -> set[str]:
    """What the convolutions give that stay in float."""
    convolutions = [node for node in graph.node if node.op_type in CONVOLUTIONS]
    grouped = [node for node in convolutions if any(a.name == "group" and a.i > 1 for a in node.attribute)]
    return {node.output[0] for node in (*convolutions[-1:], *grouped)}


def _rounded_inputs(node: NodeProto, floats: set[str]) -> list[str]:
    if node.op_type in CARRIERS:
        return list(node.input)
    return [node.input[0]] if node.op_type in CONVOLUTIONS and node.output[0] not in floats else []


class _Conversion:
    """The rewriting of one graph, in place.

    Attributes:
        constants: the old graph's weights by name, widened where a Cast widens them.
        nodes, weights: of the new graph so far.
        rounded: the new names of the activations that are rounded.
    """

    def __init__(self, graph: GraphProto, ranges: Ranges, engine: bool) -> None:
        self.graph, self.ranges, self.engine = graph, ranges, engine
        self.constants = _constants(graph)
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, NDArray[Any]] = {}
        self.rounded: dict[str, str] = {}

    def run(self) -> None:
        floats = _float_outputs(self.graph)
        types = {self.constants[n.input[1]].dtype for n in self.graph.node if n.op_type in CONVOLUTIONS}
        self.dtype = HALF if HALF in types else np.dtype(np.float32)  # of a half graph only the head is float32
        for node in self.graph.node:
            wanted = _rounded_inputs(node, floats)
            for i, name in enumerate(node.input):
                if name in wanted:
                    node.input[i] = self._round(name)
            if wanted and node.op_type in CONVOLUTIONS:
                node.input[1] = self._round_weight(node)
            self.nodes.append(node)
        self._replace()

    def _round(self, name: str) -> str:
        """The name under which an activation comes back from 8 bits; its nodes are added once."""
        if name not in self.rounded:
            scale, zero = self._scale(*self.ranges[name.removesuffix(f".{HALF}")])
            pair = self._constant(f"{name}.scale", scale.astype(self.dtype)), self._constant(f"{name}.zero", zero)
            self._add("QuantizeLinear", [name, *pair], f"{name}.int8")
            self.rounded[name] = self._add("DequantizeLinear", [f"{name}.int8", *pair], f"{name}.rounded")
        return self.rounded[name]

    def _scale(self, low: float, high: float) -> tuple[NDArray[Any], NDArray[Any]]:
        """The step between two values, and the zero point; 0 is always among the values, as padding needs it."""
        tiny = float(np.finfo(np.float16).tiny)  # of a tensor that was 0 on all frames
        if self.engine:
            return np.array(max(-low, high, tiny) / EIGHT_BITS), np.array(0, np.int8)
        low, high = min(low, 0.0), max(high, tiny)
        scale = (high - low) / 255
        return np.array(scale), np.array(round(-low / scale), np.uint8)

    def _round_weight(self, node: NodeProto) -> str:
        """The name of a convolution's weight in 8 bits, with a scale for each output channel."""
        name, axis = node.input[1], 0 if node.op_type == "Conv" else 1
        weight = self.constants[name].astype(np.float32)
        others = tuple(i for i in range(weight.ndim) if i != axis)
        largest = np.abs(weight).max(others) if self.engine else largest_sums(np.moveaxis(weight, axis, 0))
        scale = np.maximum(largest / EIGHT_BITS, np.finfo(np.float16).tiny).astype(self.dtype)
        steps = np.rint(weight / np.expand_dims(scale.astype(np.float32), others))
        values = self._constant(f"{name}.int8", np.clip(steps, -EIGHT_BITS, EIGHT_BITS).astype(np.int8))
        inputs = [values, self._constant(f"{name}.scale", scale)]
        inputs.append(self._constant(f"{name}.zero", np.zeros(len(scale), np.int8)))
        return self._add("DequantizeLinear", inputs, f"{name}.rounded", axis=axis)

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self.weights[name] = values
        return name

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{kind} {output}", **attributes))
        return output

    def _replace(self) -> None:
        """Put the new nodes in, without the float weights that nobody reads any more."""
        from onnx import NodeProto, TensorProto, numpy_helper

        used, kept = {self.graph.output[0].name}, list[NodeProto]()
        for node in reversed(self.nodes):
            if used.intersection(node.output):
                used.update(node.input)
                kept.insert(0, node)
        nodes = [NodeProto.FromString(node.SerializeToString()) for node in kept]
        weights = [TensorProto.FromString(w.SerializeToString()) for w in self.graph.initializer if w.name in used]
        for part in (self.graph.node, self.graph.initializer):
            del part[:]
        self.graph.node.extend(nodes)
        self.graph.initializer.extend(weights)
        self.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in self.weights.items())


def _constants(graph: GraphProto) -> dict[str, NDArray[Any]]:
    found = read_constants(graph)
    for name, values in found.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            cure = "The model is damaged: export it again, from another checkpoint"
            raise MaskanimError(f"INT8, weight {name}", "NaN or infinite values", "finite numbers", cure)
    return found
