"""A bundle's float32 ONNX network as a strongly typed FP16 graph: half body, float32 head.

A strongly typed engine computes in the types that stand in its graph. Images enter and leave as float16, masks as
float32: sigmoids of half logits tie so often that a mask's median suffers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskanim.errors import MaskanimError, needs_extra
from maskanim.spec import NETWORKS, NetworkName, TensorSpec

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

    from maskanim.bundle import Manifest

DType = np.dtype[Any]

NEXT_STEP = "Use float32 engines for this model"
FLOAT, HALF = np.dtype(np.float32), np.dtype(np.float16)
LARGEST_HALF = 65504.0
MASK_CHANNELS = 1
CONVOLUTIONS = ("Conv", "ConvTranspose")
MOVES = ("DepthToSpace",)  # they compute nothing


def to_half(content: bytes, name: NetworkName, *, extra: str = "export") -> bytes:
    """Convert a network's ONNX file; equal input gives equal bytes.

    The head is what computes behind the last convolution; it does so in float32, all before it in half. In m and r the
    last convolution belongs to the head: its logits carry the gain of 10, and one near 20 would be rounded by up to
    0.008. With half logits the demo's masks have a fifth fewer distinct values. m's anti-aliasing is part of the half
    body: in float32 it brought the demo's masks no nearer (on 33 frames, rms error 2.4e-4 either way).

    Args:
        content: a float32 graph; weights may be stored as float16 and widened by a Cast.
        name: of the network; decides the types at the boundary.
        extra: what to install where the package onnx is missing.

    Returns:
        The ONNX file of the FP16 graph, without any Cast of a weight.

    Raises:
        MaskanimError: a weight beyond half's range, an operation that cannot be made half, or no head.
        MissingPackageError: no onnx.
    """
    with needs_extra("FP16", extra):
        from onnx import ModelProto
    model = ModelProto.FromString(content)
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    _Conversion(model.graph, name, opset).run()
    return model.SerializeToString(deterministic=True)


def require_half(manifest: Manifest) -> None:
    """Raise a MaskanimError where the export found that a model does not survive FP16."""
    if manifest.parity and manifest.parity.half_refusal:
        received = f"this model does not survive it: {manifest.parity.half_refusal}"
        raise MaskanimError("FP16", received, "a model whose frames FP16 keeps", NEXT_STEP)


def boundary_type(spec: TensorSpec) -> DType:
    """The type of an FP16 engine's input or output: float32 for a mask, float16 for an image."""
    return FLOAT if spec.channels == MASK_CHANNELS else HALF


def read_constants(graph: GraphProto) -> dict[str, NDArray[Any]]:
    """A graph's weights by their names: initializers, Constant nodes, and what Casts of either give."""
    from onnx import helper, numpy_helper

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Cast" and node.input[0] in found:
            wanted = helper.tensor_dtype_to_np_dtype(helper.get_node_attr_value(node, "to"))
            found[node.output[0]] = found[node.input[0]].astype(wanted)
    return found


class _Conversion:
    """The rewriting of one graph, in place.

    Attributes:
        constants: of the old graph, by name.
        types: of the new graph's values so far.
        nodes, weights: of the new graph so far; weights by name.
    """

    def __init__(self, graph: GraphProto, name: NetworkName, opset: int) -> None:
        self.graph, self.name, self.opset = graph, name, opset
        self.gives_mask = boundary_type(NETWORKS[name].output) == FLOAT
        self.constants = read_constants(graph)
        self.types: dict[str, DType] = {}
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, NDArray[Any]] = {}

    def run(self) -> None:
        from onnx import helper, numpy_helper

        computing = [node for node in self.graph.node if node.output[0] not in self.constants]
        head = self._head(computing)
        for value, spec in zip(self.graph.input, NETWORKS[self.name].inputs, strict=True):
            self.types[value.name] = boundary_type(spec)
            value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(self.types[value.name])
        for node in computing:
            self._add(node, FLOAT if node.output[0] in head else HALF)
        self._set_output_type()
        for old in (self.graph.node, self.graph.initializer, self.graph.value_info):
            del old[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in self.weights.items())

    def _head(self, nodes: list[NodeProto]) -> set[str]:
        """The outputs of the nodes that compute in float32, found by walking back from the graph's output."""
        producers = {output: node for node in nodes for output in node.output}
        head: set[str] = set()
        tensor = self.graph.output[0].name
        while (node := producers.get(tensor)) is not None:
            if node.op_type in CONVOLUTIONS:
                return head | {tensor} if self.gives_mask else head
            values = [value for value in node.input if value and value not in self.constants]
            if len(values) != 1:
                break
            if self.gives_mask or node.op_type not in MOVES:
                head.add(tensor)
            tensor = values[0]
        raise self._refusal("a graph whose output does not come from one last convolution", "a head behind one")

    def _add(self, node: NodeProto, dtype: DType) -> None:
        """Append a node that computes in a type; inputs that are of another are cast."""
        for i, shares in enumerate(self._shares_type(node)):
            name = node.input[i]
            if name in self.constants:
                values = self.constants[name]
                node.input[i] = self._weight(name, values, dtype if shares and values.dtype == FLOAT else values.dtype)
            elif name:
                node.input[i] = self._cast(name, dtype)
        self.nodes.append(node)
        self.types.update(dict.fromkeys(node.output, dtype))

    def _shares_type(self, node: NodeProto) -> list[bool]:
        """Of each input, whether ONNX gives it the type of the node's output."""
        from onnx import defs

        if not defs.has(node.op_type, node.domain):
            raise self._refusal(f"node {node.name} of the unknown type {node.op_type}", "ONNX's own operations")
        schema = defs.get_schema(node.op_type, self.opset, node.domain)
        formal = [schema.inputs[min(i, len(schema.inputs) - 1)] for i in range(len(node.input))]
        shares = [entry.type_str == schema.outputs[0].type_str for entry in formal]
        if not any(shares):
            received = f"node {node.name} of type {node.op_type}, whose output has not its input's type"
            raise self._refusal(received, "operations on one type")
        return shares

    def _weight(self, name: str, stored: NDArray[Any], dtype: DType) -> str:
        """Take a weight in a type into the new graph, under the name that comes back."""
        name = f"{name}.{dtype}" if dtype == HALF else name
        if name not in self.weights:
            with np.errstate(over="ignore"):
                values = stored.astype(dtype, copy=False)
            if dtype == HALF and not np.isfinite(values).all():
                received = f"weight {name.removesuffix(f'.{dtype}')} reaches {np.abs(stored).max():.3g}"
                raise self._refusal(received, f"at most {LARGEST_HALF:g}, half's largest")
            self.weights[name] = values
        return name

    def _cast(self, name: str, dtype: DType) -> str:
        """The name under which a value has a type; the Cast is added once."""
        if self.types[name] == dtype:
            return name
        cast = f"{name}.{dtype}"
        if cast not in self.types:
            self._add_cast(name, cast, dtype)
        return cast

    def _add_cast(self, name: str, cast: str, dtype: DType) -> None:
        from onnx import helper

        to = helper.np_dtype_to_tensor_dtype(dtype)
        self.nodes.append(helper.make_node("Cast", [name], [cast], name=f"cast {name} to {dtype}", to=to))
        self.types[cast] = dtype

    def _set_output_type(self) -> None:
        from onnx import helper

        output, wanted = self.graph.output[0], boundary_type(NETWORKS[self.name].output)
        if self.types[output.name] != wanted:
            inner = f"{output.name}.{self.types[output.name]}"
            producer = next(node for node in self.nodes if output.name in node.output)
            producer.output[0] = inner
            self.types[inner] = self.types.pop(output.name)
            self._add_cast(inner, output.name, wanted)
        output.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(wanted)

    def _refusal(self, received: str, expected: str) -> MaskanimError:
        return MaskanimError(f"network {self.name} in FP16", received, expected, NEXT_STEP)
